"""A gateway on the production runner, in this process, and what its callers see."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp import web, web_app
from multidict import CIMultiDictProxy

from gateway.accounts.board import Board
from gateway.app import build_app, build_runner
from gateway.leaving import Leaving
from gateway.place import Place
from gateway.services import SERVICES, Services
from gateway.settings import Settings
from tests.replay.server import let_nobody_in

ADMIN = {"Authorization": "Bearer tests-admin-token"}
"""The operator's headers."""


@dataclass
class Running:
    url: str
    services: Services
    runner: web.AppRunner
    session: aiohttp.ClientSession

    async def complete(self, **body: Any) -> Answer:
        """POST /complete, read to its end."""
        async with self.session.post(self.url + "/complete", json=body) as response:
            raw = await response.read()
            return Answer(response.status, response.headers, raw)

    def summed(self, name: str, **labels: str) -> float:
        """Sum over all samples that have these labels."""
        self.services.recorder.write()
        return sum(
            sample.value
            for family in self.services.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def counted(self, name: str, **labels: str) -> float:
        """A sample of the metrics, 0 when it is not there."""
        self.services.recorder.write()
        return self.services.metrics.registry.get_sample_value(name, labels) or 0.0


@dataclass
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    raw: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.raw)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The data of each SSE event; comments are left out."""
        return [
            orjson.loads(line[6:]) for line in self.raw.split(b"\n") if line.startswith(b"data: ")
        ]

    @property
    def text(self) -> str:
        return "".join(event["message"] for event in self.events)

    @property
    def closing(self) -> dict[str, Any]:
        last = self.events[-1]
        assert last["done"] is True
        return last

    @property
    def route(self) -> dict[str, Any]:
        found: dict[str, Any] = self.closing["route"]
        return found


def settings(**tree: Any) -> Settings:
    """Settings without a classifier to wait for, and quick retries."""
    base: dict[str, Any] = {
        # A busy machine is no fault: nobody is turned away for it.
        "server": {"port": 0, "max_lag_ms": 60_000},
        "store": {"database": ""},
        "access": {"admin_token": ADMIN["Authorization"].removeprefix("Bearer ")},
        "classifier": {"url": "http://127.0.0.1:9"},
        "attempts": {"backoff_ms": 1},
        "routes": {"auto": {"local": ["easy/m"], "strong": ["hard/m"]}},
    }
    for section, values in tree.items():
        base[section] = {**base.get(section, {}), **values}
    return Settings.model_validate(base)


def openai_provider(url: str) -> dict[str, Any]:
    return {"kind": "openai", "base_url": url + "/v1"}


@asynccontextmanager
async def running(
    given: Settings, environment: dict[str, str] | None = None, board: Board | None = None
) -> AsyncGenerator[Running, None]:
    app = build_app(given, environment or {}, place=Place(board=board))
    runner = build_runner(app, given)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        try:
            yield Running(f"http://127.0.0.1:{port}", app[SERVICES], runner, session)
        finally:
            await session.close()
            await let_nobody_in(runner)
            # Those that a client of the test keeps would be waited for a moment, hundreds of times.
            for kept in runner.server.connections if runner.server else ():
                assert isinstance(kept, Leaving)
                if kept.at_rest:
                    kept.force_close()
            await runner.cleanup()
            # aiohttp remembers the handlers of its last thousand applications, and so the
            # applications: one for a process, but gigabytes for a run of tests.
            web_app._cached_build_middleware.cache_clear()
