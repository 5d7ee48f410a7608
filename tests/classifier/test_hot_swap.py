"""Another artefact takes over while requests run: none is lost, and a bad one changes nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from classifier import artefact
from classifier.shelf import Shelf
from tests.classifier.candidates import BROKEN, candidate, rewrite
from tests.classifier.service import ROOT, SHIPPED, Running, environment, refusal, running

pytestmark = pytest.mark.slow

OLD = artefact.read_card(SHIPPED)["version"]
WORKERS = 4


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty shelf."""
    return tmp_path / "models"


@pytest.fixture
def served(models: Path) -> Iterator[Running]:
    """Four workers that share a port and a preloaded model."""
    with running(CLASSIFIER_WORKERS=str(WORKERS), CLASSIFIER_MODELS=str(models)) as started:
        yield started


def command(models: Path, *words: str) -> str:
    done = subprocess.run(
        (sys.executable, "-m", "classifier", *words),
        cwd=ROOT,
        env=environment(0, {"CLASSIFIER_MODELS": str(models)}),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def health(served: Running) -> list[dict[str, Any]]:
    """What each worker says of itself; new connections, until every worker was asked."""
    rows: dict[int, dict[str, Any]] = {}

    async def once(session: aiohttp.ClientSession) -> None:
        async with session.get("/healthz") as response:
            assert response.status == 200
            row = await response.json()
            rows[row["worker"]] = row

    deadline = time.monotonic() + 10
    async with aiohttp.ClientSession(served.url, connector=fresh()) as session:
        while not set(served.workers()) <= set(rows):
            assert time.monotonic() < deadline, "a worker was never asked"
            await asyncio.gather(*(once(session) for _ in range(12)))
    return list(rows.values())


def fresh() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(force_close=True)


async def metrics(url: str) -> dict[str, float]:
    async with aiohttp.ClientSession(url) as session, session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in lines
        if not line.startswith("#")
    }


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 10
    while not await what():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.05)


async def all_on(url: str, version: str) -> None:
    async def reached() -> bool:
        key = f'classifier_model_workers{{version="{version}"}}'
        return (await metrics(url)).get(key) == WORKERS

    await until(reached)


@asynccontextmanager
async def load(url: str, lanes: int) -> Any:
    """Requests without a pause, half of the lanes over new connections; counts the versions."""
    seen: Counter[str] = Counter()
    stop = asyncio.Event()

    async def lane(number: int) -> None:
        connector = fresh() if number % 2 else aiohttp.TCPConnector()
        async with aiohttp.ClientSession(url, connector=connector) as session:
            while not stop.is_set():
                try:
                    async with session.post("/classify", json={"message": "Hi"}) as response:
                        body = await response.json()
                        seen[body["version"] if response.status == 200 else "failed"] += 1
                except (aiohttp.ClientError, TimeoutError, ValueError):
                    seen["failed"] += 1

    tasks = [asyncio.create_task(lane(i)) for i in range(lanes)]
    try:
        yield seen
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_a_promotion_and_a_rollback_lose_no_request(
    served: Running, models: Path, tmp_path: Path
) -> None:
    source = candidate(tmp_path / "candidate", "2-new")
    async with load(served.url, 6) as seen:
        await asyncio.sleep(0.5)
        before = set(seen)
        words = await asyncio.to_thread(command, models, "promote", str(source))
        assert "FAILED" not in words
        await all_on(served.url, "2-new")
        middle = seen["2-new"]
        await asyncio.sleep(0.5)
        assert {row["version"] for row in await health(served)} == {"2-new"}
        assert seen["2-new"] > middle
        await asyncio.to_thread(command, models, "rollback")
        await all_on(served.url, OLD)
        assert {row["version"] for row in await health(served)} == {OLD}
    assert before == {OLD}
    assert seen["failed"] == 0
    assert set(seen) - {"failed"} == {OLD, "2-new"}
    found = await metrics(served.url)
    swapped = 'classifier_model_swaps_total{outcome="swapped",role="active"}'
    assert found[swapped] == 2 * WORKERS
    assert found['classifier_model_info{name="router",version="2-new"}'] == 0
    assert found[f'classifier_model_info{{name="router",version="{OLD}"}}'] == 1
    assert found['classifier_model_workers{version="2-new"}'] == 0


async def test_what_must_not_serve_changes_nothing_and_is_said(
    served: Running, models: Path, tmp_path: Path
) -> None:
    shelf = Shelf(models)
    key = 'classifier_model_refused{role="active"}'
    with shelf.locked():
        for number, (name, (spoil, words)) in enumerate(BROKEN.items()):
            source = candidate(tmp_path / str(number), f"3-{number}")
            spoil(source)
            source.mkdir(exist_ok=True)
            shelf.put(source, f"bad-{number}")

            async def said(words: str = words, name: str = f"bad-{number}") -> bool:
                rows = await health(served)
                assert {row["version"] for row in rows} == {OLD}
                assert {row["status"] for row in rows} == {"ok"}
                return all(
                    row["refused"]
                    and row["refused"]["artefact"] == name
                    and words in row["refused"]["error"]
                    for row in rows
                )

            await until(said)
            assert (await metrics(served.url))[key] == WORKERS, name
            assert str(tmp_path) not in str(await health(served))
        (models / "current").write_bytes(b"../../etc \xff\n")

        async def pointer_refused() -> bool:
            rows = await health(served)
            return all("current" in (row["refused"] or {}).get("error", "") for row in rows)

        await until(pointer_refused)
        (models / "current").write_text("")

        async def well() -> bool:
            return all(row["refused"] is None for row in await health(served))

        await until(well)
    served.process.terminate()
    _, log = served.process.communicate(timeout=40)
    assert log.count("serves on; ") >= WORKERS * len(BROKEN)
    assert "Traceback" not in log


async def test_a_worker_that_is_born_late_serves_what_was_promoted(
    served: Running, models: Path, tmp_path: Path
) -> None:
    with Shelf(models).locked():
        Shelf(models).put(candidate(tmp_path / "new", "2-new"), "new")
    await all_on(served.url, "2-new")
    dead = served.workers()[0]
    os.kill(dead, signal.SIGKILL)
    seen: set[str] = set()

    async def replaced() -> bool:
        try:
            rows = await health(served)
        except aiohttp.ClientError:  # A connection that the dead worker held is lost.
            return False
        seen.update(row["version"] for row in rows)
        return len({row["worker"] for row in rows} - {dead}) == WORKERS

    await until(replaced)
    assert seen == {"2-new"}


async def test_an_artefact_trained_anew_in_its_place_is_taken_up(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "router"))
    with running(CLASSIFIER_ARTEFACT=str(folder)) as started:
        rewrite(folder, lambda card: card.update(version="2-new"))

        async def taken() -> bool:
            return {r["version"] for r in await health(started)} == {"2-new"}

        await until(taken)


def test_a_start_with_a_broken_promotion_says_how_to_go_back(models: Path, tmp_path: Path) -> None:
    source = candidate(tmp_path / "new", "2-new")
    with Shelf(models).locked():
        place = Shelf(models).put(source, "new")
    BROKEN["tampered"][0](place)
    code, words = refusal(CLASSIFIER_MODELS=str(models))
    assert code == 3
    assert "sha256" in words
    assert "python -m classifier rollback" in words
    assert "Traceback" not in words
