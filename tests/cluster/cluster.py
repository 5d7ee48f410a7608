"""Two nodes, each a gateway and a classifier, over one Redis and one PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from tests.cluster import parts
from tests.cluster.network import Machine, Network
from tests.cluster.parts import Part
from tests.ports import free_port

ADMIN = {"Authorization": "Bearer the-operator"}
PRICE = Decimal("0.030003")
"""Of one answer: 3 tokens at 1 and 1,000 at 30 for a million."""
CODES = ("limits", "alone", "budget", "budget-killed", "budget-redis", "budget-cut", "work")


@dataclass
class Node:
    machine: Machine
    url: str
    gateway: Part
    classifier: Part
    config: Path

    def cut(self) -> None:
        """Off the network; without a namespace it stands still, which others see as the same."""
        if self.machine.is_own:
            self.machine.pull()
        else:
            self.gateway.signal(signal.SIGSTOP)

    def back(self) -> None:
        if self.machine.is_own:
            self.machine.plug()
        else:
            self.gateway.signal(signal.SIGCONT)

    def settings(self, old: str, new: str) -> None:
        """An edit of its gateway.toml, seen within a second."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))


@dataclass
class Cluster:
    nodes: list[Node]
    redis: Part
    postgres: Part
    upstream: Part
    upstream_url: str
    has_namespaces: bool

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    async def answered(self, words: str) -> int:
        """Whole answers that the upstream gave to questions with these words."""
        _, told = await got(self.upstream_url + "/seen")
        return sum(words in one for one in told["answered"])

    async def asked(self, words: str) -> int:
        _, told = await got(self.upstream_url + "/seen")
        return sum(words in one for one in told["asked"])


@contextmanager
def cluster() -> Generator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="pm-cluster-"))
    # PostgreSQL's user has to come through.
    folder.chmod(0o755)
    network = Network(2)
    if not network.has_namespaces:
        sys.__stderr__ and sys.__stderr__.write(
            "\ntests/cluster: no namespaces here, so the nodes are processes on 127.0.0.1, and one "
            "that is cut off is stopped\n"
        )
    host, ports = network.middle, [free_port() for _ in range(3)]
    redis = parts.redis(folder / "redis", host, ports[0])
    postgres = parts.postgres(folder / "postgres", host, ports[1])
    upstream = parts.upstream(folder / "upstream", host, ports[2])
    upstream_url = f"http://{host}:{ports[2]}"
    nodes: list[Node] = []
    try:
        for part in (redis, postgres, upstream):
            part.start()
        for number, machine in enumerate(network.machines):
            place = folder / f"node{number}"
            place.mkdir()
            port, beside = free_port(), free_port()
            config = place / "gateway.toml"
            config.write_text(_toml(machine, port, beside, host, ports, upstream_url))
            nodes.append(
                Node(
                    machine,
                    f"http://{machine.address}:{port}",
                    parts.gateway(place, machine, port),
                    parts.classifier(place / "classifier", machine, beside),
                    config,
                )
            )
        for node in nodes:
            node.classifier.start(wait=False)
            node.gateway.start(wait=False)
        for node in nodes:
            node.classifier.wait()
            node.gateway.wait()
        yield Cluster(nodes, redis, postgres, upstream, upstream_url, network.has_namespaces)
    finally:
        for node in nodes:
            node.gateway.kill()
            node.classifier.kill()
        for part in (upstream, redis):
            part.kill()
        postgres.kill(signal.SIGINT, group=False)
        network.close()
        shutil.rmtree(folder, ignore_errors=True)


def _toml(
    machine: Machine, port: int, beside: int, host: str, ports: list[int], upstream: str
) -> str:
    codes = "".join(f'[codes.{name}]\ncode = "the-{name}"\n{_terms(name)}' for name in CODES)
    return f"""
[server]
host = "{machine.address}"
port = {port}
drain_s = 2
[classifier]
url = "http://127.0.0.1:{beside}"
timeout_ms = 2000
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
[routes.auto]
local = ["lab/m"]
strong = ["lab/slow"]
[routes.kept]
local = ["lab/m"]
cache_s = 300
cache_shared = true
[routes.shared]
local = ["lab/m"]
strong = ["lab/other"]
target_strong_share = 0.3
[attempts]
per_target = 1
[cooldown]
rest_s = 30
[access]
admin_token = "the-operator"
without_redis = "local"
[prices."lab/*"]
input = 1
output = 30
[store]
database = "postgresql://pointsman@{host}:{ports[1]}/postgres"
redis = "redis://{host}:{ports[0]}/0"
secret_key = "the key of this cluster, which seals what is stored"
[jobs]
workers = 3
lease_s = 1.5
timeout_s = 120
[ledger]
flush_s = 0.2
{codes}"""


def _terms(name: str) -> str:
    if name == "limits":
        return 'rate_limit = "10/hour"\n'
    if name == "alone":
        return 'rate_limit = "4/hour"\n'
    return "budget_day = 1.00\n" if name.startswith("budget") else ""


def key(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer the-{name}"}


async def got(url: str, **headers: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as told:
        return told.status, await told.json(content_type=None)


async def posted(
    url: str, body: Any, headers: dict[str, str], limit_s: float = 60
) -> tuple[int, Any, dict[str, str]]:
    limit = aiohttp.ClientTimeout(total=limit_s)
    async with (
        aiohttp.ClientSession(timeout=limit) as session,
        session.post(url, json=body, headers=headers) as told,
    ):
        return told.status, await told.json(content_type=None), dict(told.headers)


async def ask(
    node: Node, code: str, words: str = "Hi", model: str = "lab/m", limit_s: float = 60
) -> tuple[int, Any, dict[str, str]]:
    """status 0: the node did not answer at all."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": words}],
        "max_tokens": 1000,
    }
    try:
        url = node.url + "/v1/chat/completions"
        return await posted(url, body, key(code), limit_s)
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0, None, {}


async def until(what: str, true: Any, limit_s: float = 30) -> None:
    """`true`: gives an awaitable that says whether it is so."""
    try:
        async with asyncio.timeout(limit_s):
            while not await true():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {limit_s:.0f} s: {what}") from None
