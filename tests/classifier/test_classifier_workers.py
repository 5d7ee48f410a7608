"""What only several processes can get wrong: counts, deaths, starts and stops."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from classifier import counters
from tests.classifier.service import SHIPPED, Running, refusal, running

pytestmark = pytest.mark.slow


@pytest.fixture
def fresh() -> Iterator[Running]:
    """A service that nobody has asked anything yet."""
    with running(CLASSIFIER_WORKERS="3", CLASSIFIER_LOCAL_MODEL="tiny") as started:
        yield started


async def figure(session: aiohttp.ClientSession, start: str) -> float:
    """The sum of all samples whose line starts so."""
    async with session.get("/metrics") as response:
        assert response.status == 200
        lines = (await response.text()).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


async def asked(url: str, times: int) -> set[str]:
    """Ask over new connections, so that every worker gets some; returns the models named."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(url, connector=connector) as session:

        async def once() -> str:
            async with session.post("/classify", json={"message": "Hi"}) as response:
                assert response.status == 200
                return str((await response.json())["model"])

        return set(await asyncio.gather(*(once() for _ in range(times))))


async def test_counts_are_right_across_workers_and_outlive_one(fresh: Running) -> None:
    assert await asked(fresh.url, 120) == {"tiny"}
    async with aiohttp.ClientSession(fresh.url) as session:
        async with session.post("/classify", json={"messages": ["Hi", "Hello"]}) as response:
            assert response.status == 200
        async with session.post("/classify", data=b"{") as response:
            assert response.status == 400
        counted = 'classifier_requests_total{path="/classify",status='
        assert await figure(session, counted + '"200"') == 121
        assert await figure(session, counted + '"400"') == 1
        assert await figure(session, "classifier_decisions_total") == 122
        assert await figure(session, "classifier_scoring_seconds_count") == 122
        assert await figure(session, "classifier_model_info") == 1

    before = fresh.workers()
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 15
    while before[0] in fresh.workers() or len(fresh.workers()) < 3:
        assert time.monotonic() < deadline, "the killed worker was not replaced"
        await asyncio.sleep(0.1)
    assert await asked(fresh.url, 40) == {"tiny"}
    async with aiohttp.ClientSession(fresh.url) as session:
        assert await figure(session, "classifier_decisions_total") == 162


async def test_answers_go_on_while_a_worker_dies(fresh: Running) -> None:
    os.kill(fresh.workers()[0], signal.SIGKILL)
    fine = 0
    for _ in range(50):
        try:
            fine += bool(await asked(fresh.url, 1))
        except aiohttp.ClientError:  # A connection that the dead worker held is lost.
            await asyncio.sleep(0.01)
    assert fine >= 48


def test_a_stop_is_graceful_and_leaves_nothing_behind(fresh: Running) -> None:
    maps = Path(f"/proc/{fresh.workers()[0]}/maps").read_text()
    counters = {Path(line.split()[-1]).parent for line in maps.splitlines() if ".db" in line}
    assert len(counters) == 1
    fresh.process.terminate()
    _, words = fresh.process.communicate(timeout=40)
    assert fresh.process.returncode == 0
    assert not counters.pop().exists()
    assert words.count("\n") == 1, words  # Where it listens, and nothing for a request.


def test_a_tampered_artefact_stops_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "router"
    shutil.copytree(SHIPPED, folder)
    content = bytearray((folder / "model.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.npz").write_bytes(content)
    code, words = refusal(CLASSIFIER_ARTEFACT=str(folder))
    assert code == 3
    assert "model.npz" in words
    assert "sha256" in words
    assert "Traceback" not in words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLASSIFIER_PORT", "eighty"),
        ("CLASSIFIER_PORT", "70000"),
        ("CLASSIFIER_WORKERS", "0"),
        ("CLASSIFIER_MAX_BODY", "-1"),
        ("CLASSIFIER_LOCAL_MODEL", " "),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    code, words = refusal(**{name: value})
    assert code != 0
    assert name in words
    assert "Traceback" not in words


def counters_of(pid: int) -> Path:
    """The folder in which a service counts, by the files that it has open."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        target = file.readlink()
        if target.name == counters.HELD:
            return target.parent
    raise AssertionError("it counts nowhere")


def test_what_a_killed_service_counted_is_wiped_by_the_next_and_the_livings_stays() -> None:
    with running(CLASSIFIER_WORKERS="1") as living, running(CLASSIFIER_WORKERS="1") as killed:
        stays, left = counters_of(living.process.pid), counters_of(killed.process.pid)
        workers = killed.workers()
        killed.process.kill()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        killed.process.wait(10)
        assert left.is_dir()
        for folder in (stays, left):
            # As if they had been there for a while.
            os.utime(folder, (time.time() - 2 * counters.NEW_S,) * 2)
        with running(CLASSIFIER_WORKERS="1") as after:
            found = counters_of(after.process.pid)
            assert not left.exists()
            assert stays.is_dir()
            assert found.is_dir()
        assert not found.exists()
    assert not stays.exists()
