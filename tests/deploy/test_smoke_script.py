"""test_streaming.py against a small real server that plays good and bad streams."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.replay.server import answering

SCRIPT = Path(__file__).parents[2] / "test_streaming.py"
GAP_S = 0.02

Play = Callable[[web.StreamResponse], Awaitable[None]]


@dataclass
class Gateway:
    """Plays one stream at /complete and keeps what it was asked."""

    play: Play | None = None
    status: int = 200
    content_type: str = "text/event-stream"
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        assert (request.method, request.path) == ("POST", "/complete")
        self.asked.append(await request.json())
        if self.play is None:
            return web.json_response({"error": {"message": "no target left"}}, status=self.status)
        response = web.StreamResponse(headers={"Content-Type": self.content_type})
        await response.prepare(request)
        await self.play(response)
        return response


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    async with answering(gateway.complete) as gateway.url:
        yield gateway


async def smoke(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def event(message: str, **more: Any) -> bytes:
    value = {
        "message": message,
        "timestamp": "2026-11-21T10:00:00Z",
        "user_id": "local",
        "model": "smollm2:135m",
    } | more
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def closing(tokens: int = 3) -> bytes:
    return event(
        "",
        done=True,
        finish_reason="stop",
        usage={"input_tokens": 7, "output_tokens": tokens},
        route={
            "target": "local/smollm2:135m",
            "tier": "local",
            "score": 0.9,
            "reason": "an easy prompt",
            "classifier_version": "1",
            "fallbacks": ["ollama/llama3.2: connection refused"],
            "milliseconds": {"total": 60},
        },
    )


def one_by_one(*pieces: bytes) -> Play:
    async def play(response: web.StreamResponse) -> None:
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(GAP_S)

    return play


async def test_a_good_stream_is_shown_chunk_by_chunk_with_its_model_and_reason(
    gateway: Gateway,
) -> None:
    gateway.play = one_by_one(event("One"), b": keep-alive\n\n", event(" two"), closing())

    code, out, err = await smoke("--url", gateway.url, "--message", "Count.", "--model", "auto")

    assert (code, err) == (0, "")
    assert gateway.asked == [{"message": "Count.", "model": "auto"}]
    first, second, end, *rest = out.splitlines()
    assert first.endswith("ms  'One'")
    assert second.endswith("ms  ' two'")
    assert float(first.split()[0]) < float(second.split()[0])
    assert end.endswith("(end: stop)")
    told = "\n".join(rest)
    assert "smollm2:135m" in told
    assert "an easy prompt" in told
    assert "connection refused" in told
    assert "7 in, 3 out" in told


async def test_an_event_may_come_in_pieces_and_with_crlf(gateway: Gateway) -> None:
    good = (event("Grüße,") + event(" Welt") + closing()).replace(b"\n", b"\r\n")
    in_a_letter = good.index("ü".encode()) + 1
    in_a_line_end = good.index(b"\r\n\r\n") + 3
    gateway.play = one_by_one(
        good[:in_a_letter],
        good[in_a_letter:in_a_line_end],
        good[in_a_line_end : in_a_line_end + 10],
        good[in_a_line_end + 10 :],
    )

    code, out, err = await smoke("--url", gateway.url)

    assert (code, err) == (0, "")
    assert "'Grüße,'" in out
    assert "' Welt'" in out


async def test_without_a_model_none_is_sent(gateway: Gateway) -> None:
    gateway.play = one_by_one(event("a"), event("b"), closing())

    code, _, _ = await smoke("--url", gateway.url)

    assert code == 0
    assert "model" not in gateway.asked[0]


async def test_a_held_back_answer_is_not_streamed(gateway: Gateway) -> None:
    gateway.play = one_by_one(b"".join([event(f" {n}") for n in range(50)] + [closing(50)]))

    code, _, err = await smoke("--url", gateway.url)

    assert code == 1
    assert err == "Not streamed: all 50 chunks came in one instant.\n"


async def test_one_chunk_is_not_streamed(gateway: Gateway) -> None:
    gateway.play = one_by_one(event("All of it at once."), closing(6))

    code, _, err = await smoke("--url", gateway.url)

    assert code == 1
    assert err == "Not streamed: 1 chunk for 6 tokens.\n"


async def test_an_error_event_fails_with_its_message(gateway: Gateway) -> None:
    broken = {"message": "the upstream closed the stream", "type": "broken", "code": None}
    gateway.play = one_by_one(event("One"), event(" two"), event("", done=True, error=broken))

    code, _, err = await smoke("--url", gateway.url)

    assert code == 1
    assert err == "The answer broke off with an error: the upstream closed the stream\n"


async def test_a_stream_without_a_closing_event_was_cut(gateway: Gateway) -> None:
    gateway.play = one_by_one(event("One"), event(" two"))

    code, _, err = await smoke("--url", gateway.url)

    assert code == 1
    assert "without a closing event" in err


async def test_a_broken_connection_fails(gateway: Gateway) -> None:
    async def play(response: web.StreamResponse) -> None:
        await response.write(event("One"))
        await asyncio.sleep(GAP_S)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    gateway.play = play

    code, _, err = await smoke("--url", gateway.url)

    assert code == 1
    assert "The connection broke" in err


async def test_silence_fails_after_the_timeout(gateway: Gateway) -> None:
    over = asyncio.Event()

    async def play(response: web.StreamResponse) -> None:
        await response.write(event("One"))
        await over.wait()

    gateway.play = play

    code, _, err = await smoke("--url", gateway.url, "--timeout", "0.3")
    over.set()

    assert code == 1
    assert err == "Nothing more came for 0.3 seconds.\n"


async def test_json_instead_of_events_fails(gateway: Gateway) -> None:
    gateway.content_type = "application/json"
    gateway.play = one_by_one(b'{"message": "all"}')

    code, _, err = await smoke("--url", gateway.url)

    assert code == 1
    assert err == "The content type is application/json, not text/event-stream.\n"


async def test_an_event_that_is_not_json_fails(gateway: Gateway) -> None:
    gateway.play = one_by_one(event("One"), b"data: {not json\n\n")

    code, _, err = await smoke("--url", gateway.url)

    assert code == 1
    assert err == "An event is not JSON: {not json\n"


async def test_a_refusal_is_shown_with_its_status(gateway: Gateway) -> None:
    gateway.status = 503

    code, _, err = await smoke("--url", gateway.url)

    assert code == 1
    assert "answered 503" in err
    assert "no target left" in err


async def test_nobody_there_says_how_to_start_it(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"

    code, _, err = await smoke("--url", url)

    assert code == 1
    assert err == f"Nothing answers at {url}: start it with `make run`.\n"
