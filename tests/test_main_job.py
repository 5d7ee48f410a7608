"""What `make run` starts, with nothing replaced: the classifier under gunicorn, the embedded model
and the gateway. Ask, watch tokens come, kill the classifier, go on asking."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


class System:
    def __init__(self, process: asyncio.subprocess.Process, ports: list[int]) -> None:
        self.process = process
        self.gateway, self.classifier, self.local = (f"http://127.0.0.1:{n}" for n in ports)
        self.lines: list[str] = []

    async def ask(self, session: aiohttp.ClientSession, **body: Any) -> list[dict[str, Any]]:
        async with session.post(
            self.gateway + "/complete", json={"max_tokens": 8, **body}
        ) as response:
            assert response.status == 200, await response.text()
            raw = await response.read()
        return [orjson.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: ")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[System, None]:
    ports = [free_port() for _ in range(3)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deploy.up",
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "PORT": str(ports[0]),
            "CLASSIFIER_PORT": str(ports[1]),
            "CLASSIFIER_WORKERS": "2",
            "LOCAL_PORT": str(ports[2]),
            "LOCAL_THREADS": "1",
            "OLLAMA_BASE_URL": "http://127.0.0.1:1",
            # Whoever runs the tests may have rows of his own in the checkout's.
            "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('main_job') / 'pointsman.db'}",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    found = System(process, ports)
    assert process.stdout is not None

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            found.lines.append(line.decode())

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(120), aiohttp.ClientSession() as session:
            while not any("curl -N" in line for line in found.lines):
                assert process.returncode is None, "".join(found.lines)
                await asyncio.sleep(0.1)
            async with session.get(found.gateway + "/readyz") as response:
                assert response.status == 200
        yield found
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(60):
            code = await process.wait()
        await reading
        assert code == 0, "".join(found.lines)


async def test_tokens_of_a_real_model_stream_back_sent_by_a_real_classifier(
    system: System,
) -> None:
    async with aiohttp.ClientSession() as session:
        arrived: list[float] = []
        raw = b""
        async with session.post(
            system.gateway + "/complete", json={"message": "Name three colours.", "max_tokens": 24}
        ) as response:
            assert response.status == 200
            async for chunk in response.content.iter_any():
                arrived.append(time.monotonic())
                raw += chunk
        events = [orjson.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: ")]
        closing = events[-1]
        assert "".join(event["message"] for event in events).strip()
        assert len(arrived) > 3
        assert arrived[-1] > arrived[0]
        assert closing["done"] is True
        assert closing["usage"]["output_tokens"] > 3
        route = closing["route"]
        assert route["target"] == "local/smollm2:135m"
        assert route["tier"] == "local"
        assert 0 <= route["score"] <= 1
        async with session.get(system.classifier + "/healthz") as response:
            health = await response.json()
        assert route["classifier_version"] == health["version"]


async def test_a_hard_prompt_goes_to_the_strong_tier_and_the_reason_says_who_answers(
    system: System,
) -> None:
    async with aiohttp.ClientSession() as session:
        events = await system.ask(
            session,
            message="Prove that every finite integral domain is a field, then decide whether the "
            "converse of the lemma that you used holds, with a counterexample if it does not.",
        )
        route = events[-1]["route"]
        assert route["tier"] == "strong"
        assert "No target of the strong tier is on" in route["reason"]


async def test_one_shot_gives_the_same_as_one_body(system: System) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            system.gateway + "/complete",
            json={"message": "Say hello.", "stream": False, "max_tokens": 8},
        ) as response,
    ):
        body = await response.json()
        assert body["message"].strip()
        assert body["finish_reason"] in ("stop", "length")
        assert body["route"]["target"] == "local/smollm2:135m"


async def test_a_caller_who_leaves_frees_the_real_model(system: System) -> None:
    async with aiohttp.ClientSession() as session:
        response = await session.post(
            system.gateway + "/complete",
            json={"message": "Write a long story about the sea.", "max_tokens": 400},
        )
        await response.content.readany()
        response.close()
        # Its slots are free again: the next answer does not wait for 400 tokens.
        events = await system.ask(session, message="Say hello.")
        assert events[-1]["done"] is True
        async with session.get(system.gateway + "/metrics") as metrics:
            text = await metrics.text()
        assert 'outcome="cancelled",provider="local",route="auto"} 1.0' in text


async def test_answers_go_on_while_the_classifier_is_killed_and_it_comes_back(
    system: System,
) -> None:
    async with aiohttp.ClientSession() as session:
        master, *workers = _classifier_pids(system.classifier)
        for pid in (master, *workers):
            os.kill(pid, signal.SIGKILL)
        reasons: list[str] = []
        async with asyncio.timeout(60):
            number = 0
            while len(reasons) < 4 or reasons[-1].startswith("The classifier gave no answer"):
                number += 1
                events = await system.ask(session, message=f"Name {number} colours.")
                assert events[-1]["done"] is True
                assert "error" not in events[-1]
                reasons.append(events[-1]["route"]["reason"])
                await asyncio.sleep(0.2)
        assert any(reason.startswith("The classifier gave no answer") for reason in reasons)
        assert "scored it" in reasons[-1]


async def test_the_smoke_script_sees_a_stream(system: System) -> None:
    script = await asyncio.create_subprocess_exec(
        sys.executable,
        "test_streaming.py",
        "--url",
        system.gateway,
        "--message",
        "Say hello.",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        out, _ = await script.communicate()
    assert script.returncode == 0, out.decode()
    assert "local/smollm2:135m" in out.decode()


def _classifier_pids(url: str) -> list[int]:
    """The gunicorn master that was told this port, and its workers, from /proc."""
    port = url.rpartition(":")[2].encode()
    for pid in _pids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if b"gunicorn" in command and b"CLASSIFIER_PORT=" + port in environment.split(b"\0"):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children:
                return [pid, *(int(child) for child in children)]
    raise AssertionError("the classifier does not run")


def _pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)
