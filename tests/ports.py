"""A port of this machine for a process that cannot take a free one by itself.

Whoever takes port 0 and closes it again may lose it before his process listens: to another test
process, or to a connection that somebody opens meanwhile. So these are below those that the kernel
gives by itself (from 32768, or as net.ipv4.ip_local_port_range says), and each of the test
processes (`pytest -n`) has a thousand of its own.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

_FIRST, _EACH, _SHARES = 20_000, 1000, 12


def free_port() -> int:
    """One of 127.0.0.1 that nobody listens on just now, and that no other test gets soon."""
    for port in itertools.islice(_ports, _EACH):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"none of {_EACH} ports is free")


def _share() -> list[int]:
    """Of this test process, from a place of its own: two runs may stand beside each other."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    share = int(number) % _SHARES if number else random.randrange(_SHARES)
    ports = [_FIRST + share * _EACH + n for n in range(_EACH)]
    at = random.randrange(_EACH)
    return ports[at:] + ports[:at]


_ports = itertools.cycle(_share())
