"""Machines of our own: network namespaces, each with a cable to the one where Redis, PostgreSQL
and the upstream stand. Without the right to make them all are processes on 127.0.0.1, and a node
that is cut off is one that is stopped for a while.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass

NET = "10.213.77"
"""Nobody else's: the test skips to loopback where it is taken."""


def _ip(*words: str) -> bool:
    done = subprocess.run(["ip", *words], capture_output=True, check=False)
    return done.returncode == 0


@dataclass
class Machine:
    """`command` is put before a program's own words to run it there."""

    address: str
    name: str = ""
    cable: str = ""

    @property
    def command(self) -> list[str]:
        return ["ip", "netns", "exec", self.name] if self.name else []

    @property
    def is_own(self) -> bool:
        return bool(self.name)

    def pull(self) -> None:
        """Its end of the cable goes down: nothing comes, nothing goes, nobody is told."""
        assert _ip("-n", self.name, "link", "set", "eth0", "down")

    def plug(self) -> None:
        assert _ip("-n", self.name, "link", "set", "eth0", "up")
        assert _ip("-n", self.name, "route", "replace", f"{NET}.1", "dev", "eth0")
        assert _ip("route", "replace", self.address, "dev", self.cable)


class Network:
    """`middle`: where the services listen."""

    def __init__(self, machines: int) -> None:
        self.middle = "127.0.0.1"
        self.machines: list[Machine] = []
        if os.geteuid() == 0 and shutil.which("ip"):
            for number in range(machines):
                if (one := self._made(number)) is None:
                    self.close()
                    break
                self.machines.append(one)
        if self.machines:
            self.middle = f"{NET}.1"
        else:
            self.machines = [Machine("127.0.0.1") for _ in range(machines)]

    @property
    def has_namespaces(self) -> bool:
        return self.machines[0].is_own

    def _made(self, number: int) -> Machine | None:
        name = f"pm-{secrets.token_hex(4)}"
        one = Machine(f"{NET}.{10 + number}", name, f"{name[:12]}h")
        made = _ip("netns", "add", name) and all(
            _ip(*words.split())
            for words in (
                f"link add {one.cable} type veth peer name eth0 netns {name}",
                f"addr add {NET}.1/32 dev {one.cable}",
                f"link set {one.cable} up",
                f"-n {name} addr add {one.address}/32 dev eth0",
                f"-n {name} link set lo up",
                f"-n {name} link set eth0 up",
                f"-n {name} route add {NET}.1 dev eth0",
                f"route add {one.address} dev {one.cable}",
            )
        )
        if not made:
            _ip("netns", "del", name)
            return None
        return one

    def close(self) -> None:
        """The cables go with their namespaces."""
        for one in self.machines:
            if one.is_own:
                _ip("netns", "del", one.name)
        self.machines = []
