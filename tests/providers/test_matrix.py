"""Every kind of upstream behind POST /complete, streamed and whole: same text, finish, usage."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.replay.gateway import running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

KEY = "sk-test-0123456789abcdef"
PIECES = ("  Naïve ", "漢字 🙂", "\n\u2028end ")
TEXT = "".join(PIECES)


def anthropic_stream() -> bytes:
    events: list[dict[str, Any]] = [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 2, "cache_read_input_tokens": 1, "output_tokens": 1},
            },
        },
        {"type": "ping"},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": piece},
            }
            for piece in PIECES
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    ]
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    )


def anthropic_body() -> bytes:
    return orjson.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [{"type": "text", "text": TEXT}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 2, "cache_read_input_tokens": 1, "output_tokens": 2},
        }
    )


def gemini_chunk(text: str, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {
        "content": {"parts": [{"text": text}], "role": "model"},
        "index": 0,
    }
    if last:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 3,
            "candidatesTokenCount": 2,
            "totalTokenCount": 5,
        },
        "modelVersion": "m",
    }


def gemini_stream() -> bytes:
    return b"".join(
        b"data: %b\r\n\r\n" % orjson.dumps(gemini_chunk(piece, piece is PIECES[-1]))
        for piece in PIECES
    )


def ollama_line(text: str, last: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": last,
    }
    if last:
        line |= {"done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2}
    return line


def ollama_stream() -> bytes:
    lines = [ollama_line(piece, False) for piece in PIECES] + [ollama_line("", True)]
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


@dataclass(frozen=True)
class Kind:
    name: str
    base: str
    content_type: str
    stream: bytes
    body: bytes
    path: str
    stream_path: str
    auth: tuple[str, str] | None


KINDS = [
    Kind(
        "openai",
        "/v1",
        "text/event-stream",
        openai_stream(*PIECES).replace(b'"completion_tokens":3', b'"completion_tokens":2'),
        openai_body(TEXT),
        "/v1/chat/completions",
        "/v1/chat/completions",
        ("authorization", f"Bearer {KEY}"),
    ),
    Kind(
        "anthropic",
        "/v1",
        "text/event-stream",
        anthropic_stream(),
        anthropic_body(),
        "/v1/messages",
        "/v1/messages",
        ("x-api-key", KEY),
    ),
    Kind(
        "gemini",
        "/v1beta",
        "text/event-stream",
        gemini_stream(),
        orjson.dumps(gemini_chunk(TEXT, True)),
        "/v1beta/models/m%2Fx:generateContent",
        "/v1beta/models/m%2Fx:streamGenerateContent?alt=sse",
        ("x-goog-api-key", KEY),
    ),
    Kind(
        "ollama",
        "",
        "application/x-ndjson",
        ollama_stream(),
        orjson.dumps(ollama_line(TEXT, True)),
        "/api/chat",
        "/api/chat",
        None,
    ),
]


def ids(kind: Kind) -> str:
    return kind.name


def providers(kind: Kind, url: str) -> dict[str, Any]:
    return {"lab": {"kind": kind.name, "base_url": url + kind.base, "api_key": KEY}}


@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize("kind", KINDS, ids=ids)
async def test_a_stream_is_the_same_from_every_upstream(kind: Kind, chunk: int | None) -> None:
    play = Play(kind.stream, content_type=kind.content_type, chunk=chunk)
    async with (
        ReplayServer(play) as upstream,
        running(settings(providers=providers(kind, upstream.url))) as gateway,
    ):
        answer = await gateway.complete(message="Hi", model="lab/m/x", temperature=0.5)
        assert answer.text == TEXT
        closing = answer.closing
        assert closing["finish_reason"] == "stop"
        assert closing["usage"]["input_tokens"] == 3
        assert closing["usage"]["output_tokens"] == 2
        assert closing["route"]["target"] == "lab/m/x"
        received = upstream.received[0]
        assert received.path == kind.stream_path
        if kind.auth:
            assert received.headers[kind.auth[0]] == kind.auth[1]
        assert received.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("kind", KINDS, ids=ids)
async def test_a_whole_answer_is_the_same_from_every_upstream(kind: Kind) -> None:
    play = Play(kind.body, content_type="application/json")
    async with (
        ReplayServer(play) as upstream,
        running(settings(providers=providers(kind, upstream.url))) as gateway,
    ):
        answer = await gateway.complete(message="Hi", model="lab/m/x", stream=False)
        assert answer.status == 200
        body = answer.json
        assert body["message"] == TEXT
        assert body["finish_reason"] == "stop"
        assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (3, 2)
        assert upstream.received[0].path == kind.path


@pytest.mark.parametrize("kind", KINDS, ids=ids)
async def test_a_cut_anywhere_before_the_finish_is_never_a_success(kind: Kind) -> None:
    """Every 40th byte, cleanly and by reset: what came is kept, and the end is an error."""
    finishes = {
        "openai": b'"finish_reason":"stop"',
        "anthropic": b'"stop_reason":"end_turn"',
        "gemini": b'"finishReason"',
        "ollama": b'"done":true',
    }
    end = kind.stream.index(finishes[kind.name])
    for clean in (True, False):
        async with ReplayServer() as upstream:
            given = settings(
                providers=providers(kind, upstream.url),
                attempts={"per_target": 1, "backoff_ms": 0},
                cooldown={"failures": 1_000_000},
            )
            async with running(given) as gateway:
                for cut in range(0, end, 40):
                    upstream.play(
                        Play(kind.stream, content_type=kind.content_type, cut=cut, clean=clean)
                    )
                    answer = await gateway.complete(message="Hi", model="lab/m")
                    if answer.status == 200:
                        assert TEXT.startswith(answer.text)
                        assert answer.text
                        assert answer.closing["error"]["type"] == "upstream_error"
                    else:
                        assert answer.status == 502
                    assert b"finish_reason" not in answer.raw


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
@pytest.mark.parametrize("kind", KINDS, ids=ids)
async def test_every_status_of_every_upstream_has_a_clear_error(kind: Kind, status: int) -> None:
    shown = {400: 400, 401: 502, 403: 502, 404: 404, 413: 413, 429: 429, 500: 502, 503: 502}
    play = Play(b"<html>no</html>", status, "text/html")
    async with (
        ReplayServer(play) as upstream,
        running(
            settings(providers=providers(kind, upstream.url), attempts={"per_target": 1})
        ) as gateway,
    ):
        answer = await gateway.complete(message="Hi", model="lab/m")
        assert answer.status == shown[status]
        error = answer.json["error"]
        assert error["message"]
        assert KEY.encode() not in answer.raw
        assert "Traceback" not in error["message"]


async def test_the_look_at_an_upstream_stands_in_health() -> None:
    async with ReplayServer(Play(b"")) as upstream:
        tree = {
            "good": {"kind": "openai", "base_url": upstream.url + "/v1"},
            "gone": {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"},
        }
        async with running(settings(providers=tree)) as gateway:
            async with asyncio.timeout(5):
                while "gone" not in gateway.services.registry.health:
                    await asyncio.sleep(0.01)
            async with gateway.session.get(gateway.url + "/health") as response:
                health = await response.json()
            assert health["status"] == "healthy"
            assert health["providers"]["good"]["status"] == "connected"
            assert health["providers"]["gone"]["status"] == "unreachable"
            assert health["providers"]["openai"] == {
                "on": False,
                "status": "off",
                "detail": "OPENAI_API_KEY is not set",
            }


async def test_an_ollama_without_the_default_model_answers_with_the_first_that_it_has() -> None:
    tags = orjson.dumps({"models": [{"model": "qwen3:latest"}, {"model": "phi4:14b"}]})
    async with ReplayServer(Play(ollama_stream(), content_type="application/x-ndjson")) as upstream:
        upstream.answers["/api/tags"] = tags
        given = settings(
            providers={"ollama": {"base_url": upstream.url}}, routes={"auto": {"local": ["ollama"]}}
        )
        async with running(given) as gateway:
            async with asyncio.timeout(5):
                while not gateway.services.registry.found:
                    await asyncio.sleep(0.01)
            answer = await gateway.complete(message="Hi")
            assert answer.route["target"] == "ollama/qwen3"
            assert (await gateway.complete(message="Hi", model="phi4:14b")).status == 200


@pytest.mark.parametrize(
    ("status", "state"), [(401, "denied"), (403, "denied"), (500, "failing"), (200, "connected")]
)
async def test_a_key_is_checked_at_start_without_delaying_readiness(
    status: int, state: str
) -> None:
    async with ReplayServer(Play(b"")) as upstream:
        upstream.look_status = status
        lab = {"kind": "openai", "base_url": upstream.url + "/v1", "api_key": KEY}
        async with running(
            settings(providers={"lab": lab}, routes={"auto": {"local": ["lab/m"]}})
        ) as gateway:
            async with gateway.session.get(gateway.url + "/readyz") as response:
                assert response.status == 200
            async with asyncio.timeout(5):
                while "lab" not in gateway.services.registry.health:
                    await asyncio.sleep(0.01)
            async with gateway.session.get(gateway.url + "/health") as response:
                text = await response.text()
                health = orjson.loads(text)
            assert health["providers"]["lab"]["status"] == state
            assert KEY not in text
