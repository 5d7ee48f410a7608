"""The bytes of each language's stream: what its clients cannot bear is not in them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

import orjson
import pytest

from tests.doors.clients import DOORS, HEADERS, ask, path, question, read
from tests.doors.lab import lab
from tests.doors.upstreams import CALLS, EVERYTHING, HELLO, KINDS, THOUGHT, Said, play, refusal
from tests.replay.gateway import running, settings
from tests.replay.server import ReplayServer

SAIDS = [HELLO, CALLS, THOUGHT, EVERYTHING]


async def raw_of(door: str, kind: str, said: Said) -> bytes:
    async with lab(kind, play(kind, said, True)) as (gateway, _):
        body = question(door, "Hi", stream=True)
        status, raw = await ask(gateway, door, body, stream=True)
        assert status == 200
        return raw


@pytest.mark.parametrize("said", SAIDS, ids=lambda one: one.finish + one.text[:3])
@pytest.mark.parametrize("kind", KINDS)
async def test_openai(kind: str, said: Said) -> None:
    raw = await raw_of("openai", kind, said)
    assert raw.endswith(b"data: [DONE]\n\n")
    assert raw.count(b"[DONE]") == 1
    assert b"\r" not in raw
    frames = raw.decode("ascii" if kind != "openai" else "utf-8").split("\n\n")[:-2]
    chunks = []
    for frame in frames:
        assert re.fullmatch(r"data: \{.*\}", frame), frame
        chunks.append(orjson.loads(frame[6:]))
    assert len({(one["id"], one["created"], one["model"]) for one in chunks}) == 1
    deltas = [one["choices"][0] for one in chunks if one["choices"]]
    assert [one["delta"].get("role") for one in deltas].count("assistant") == 1
    assert deltas[0]["delta"]["role"] == "assistant"
    finishes = [one["finish_reason"] for one in deltas]
    assert finishes[-1] == said.finish
    assert set(finishes[:-1]) == {None}
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["prompt_tokens"] == said.usage[0]
    indexes = [call["index"] for one in deltas for call in one["delta"].get("tool_calls", ())]
    assert indexes == sorted(indexes)


@pytest.mark.parametrize("said", SAIDS, ids=lambda one: one.finish + one.text[:3])
@pytest.mark.parametrize("kind", KINDS)
async def test_anthropic(kind: str, said: Said) -> None:
    raw = await raw_of("anthropic", kind, said)
    assert raw.endswith(b'data: {"type":"message_stop"}\n\n')
    assert b"[DONE]" not in raw
    events = []
    for frame in raw.decode().split("\n\n")[:-1]:
        found = re.fullmatch(r"event: (\w+)\ndata: (\{.*\})", frame)
        assert found, frame
        events.append(orjson.loads(found[2]))
        assert events[-1]["type"] == found[1]
    assert isinstance(events[0]["message"]["usage"]["input_tokens"], int)
    [delta] = [one for one in events if one["type"] == "message_delta"]
    assert isinstance(delta["usage"]["output_tokens"], int)
    open_block, blocks = None, 0
    for event in events:
        if event["type"] == "content_block_start":
            assert open_block is None
            assert event["index"] == blocks
            assert event["content_block"].get("text", "") == ""
            open_block = blocks
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_block
        elif event["type"] == "content_block_stop":
            assert event["index"] == open_block
            open_block, blocks = None, blocks + 1
    assert open_block is None


@pytest.mark.parametrize("said", SAIDS, ids=lambda one: one.finish + one.text[:3])
@pytest.mark.parametrize("kind", KINDS)
async def test_gemini(kind: str, said: Said) -> None:
    """No comment, no event line, no [DONE], and a space behind `data:`."""
    raw = await raw_of("gemini", kind, said)
    lines = raw.decode().replace("\r\n", "\n").split("\n")
    assert all(not line or re.fullmatch(r"data: \{.*\}", line) for line in lines)
    assert raw[-2:] == b"\n\n" or raw.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("said", SAIDS, ids=lambda one: one.finish + one.text[:3])
@pytest.mark.parametrize("kind", KINDS)
async def test_ollama(kind: str, said: Said) -> None:
    """ASCII lines, none of them blank, each with a message."""
    raw = await raw_of("ollama", kind, said)
    assert raw.isascii() or kind == "ollama"
    assert raw.endswith(b"\n")
    # As a Python client splits it: at every separator of Unicode.
    for line in raw.decode().splitlines():
        body = orjson.loads(line)
        assert "message" in body
        # The name that was asked, as Ollama gives it back.
        assert body["model"] == "lab/m"
    assert [orjson.loads(line)["done"] for line in raw.splitlines()].count(True) == 1


@pytest.mark.parametrize("said", SAIDS, ids=lambda one: one.finish + one.text[:3])
@pytest.mark.parametrize("kind", KINDS)
async def test_responses(kind: str, said: Said) -> None:
    """An `event:` line that says its type, numbers without a gap, ASCII, and no [DONE]."""
    raw = await raw_of("responses", kind, said)
    assert b"[DONE]" not in raw
    assert b"\r" not in raw
    assert raw.isascii()
    assert raw.endswith(b"}\n\n")
    events = []
    for frame in raw.decode().split("\n\n")[:-1]:
        found = re.fullmatch(r"event: ([\w.]+)\ndata: (\{.*\})", frame)
        assert found, frame
        events.append(orjson.loads(found[2]))
        assert events[-1]["type"] == found[1]
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert [one["type"] for one in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] == "response.completed"
    opened: list[int] = []
    for one in events:
        if one["type"] == "response.output_item.added":
            assert one["output_index"] == len(opened)
            opened.append(one["output_index"])
        elif "output_index" in one:
            assert one["output_index"] == opened[-1]
    needed = {"id", "object", "created_at", "model", "output", "parallel_tool_calls"}
    needed |= {"tool_choice", "tools", "status"}
    for one in (events[0], events[1], events[-1]):
        assert needed <= one["response"].keys()
        assert one["response"]["id"] == events[0]["response"]["id"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
async def test_an_answer_is_the_same_wherever_the_upstreams_bytes_are_cut(
    door: str, kind: str
) -> None:
    """Whole, one byte a write, two, three and five: no character of several bytes stays whole."""
    async with lab(kind) as (gateway, upstream):
        for said in (HELLO, CALLS):
            for size in (None, 1, 2, 3, 5):
                upstream.play(play(kind, said, True, chunk=size))
                body = question(door, "Hi", stream=True)
                status, raw = await ask(gateway, door, body, stream=True)
                assert status == 200
                found = read(door, raw, stream=True)
                assert (found.text, found.finish) == (said.text, said.finish)
                assert found.calls == [(call.name, call.arguments) for call in said.calls]
                assert found.usage == said.usage


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("door", DOORS)
async def test_a_question_is_the_same_however_its_bytes_come(door: str, size: int) -> None:
    """In single bytes and in threes: no character of several bytes stays whole."""
    words = "  Naïve 漢字 🙂\n\u2028"
    body = orjson.dumps(question(door, words, stream=True))

    async def pieces() -> AsyncGenerator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]
            await asyncio.sleep(0)

    async with (
        lab("openai", play("openai", HELLO, True)) as (gateway, upstream),
        gateway.session.post(
            gateway.url + path(door, stream=True),
            data=pieces(),
            headers={**HEADERS[door], "Content-Type": "application/json"},
        ) as response,
    ):
        assert read(door, await response.read(), stream=True).text == HELLO.text
        assert upstream.received[0].body["messages"] == [{"role": "user", "content": words}]


async def test_ollama_streams_when_nobody_says_whether() -> None:
    async with lab("openai", play("openai", HELLO, True)) as (gateway, _):
        body = question("ollama", "Hi", stream=True)
        del body["stream"]
        # curl -d says that it sends a form.
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for door, raw in (
            ("/api/chat", orjson.dumps(body)),
            ("/api/generate", b'{"model":"m","prompt":"Hi"}'),
        ):
            async with gateway.session.post(
                gateway.url + door, data=raw, headers=headers
            ) as response:
                assert response.headers["Content-Type"] == "application/x-ndjson"
                assert (await response.read()).count(b"\n") > 2


@pytest.mark.parametrize("door", DOORS)
async def test_a_stream_is_never_packed_or_kept(door: str) -> None:
    async with (
        lab("openai", play("openai", HELLO, True)) as (gateway, upstream),
        gateway.session.post(
            gateway.url + path(door, stream=True),
            json=question(door, "Hi", stream=True),
            headers={**HEADERS[door], "Accept-Encoding": "gzip, deflate, br"},
        ) as response,
    ):
        await response.read()
        assert "Content-Encoding" not in response.headers
        assert "Content-Length" not in response.headers
        assert "no-transform" in response.headers["Cache-Control"]
        assert response.headers["X-Accel-Buffering"] == "no"
        assert upstream.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags", "/v1/models", "/healthz"])
async def test_head_has_headers_and_no_body(path: str) -> None:
    async with (
        lab("openai") as (gateway, _),
        gateway.session.head(gateway.url + path) as response,
    ):
        assert response.status == 200
        assert await response.read() == b""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("door", DOORS)
async def test_when_the_first_upstream_fails_the_second_one_answers(
    door: str, stream: bool
) -> None:
    """One answer, as if nothing had been."""
    async with (
        ReplayServer(refusal("openai", 503)) as broken,
        ReplayServer(play("anthropic", HELLO, stream)) as well,
    ):
        given = settings(
            providers={
                "lab": {"kind": "openai", "base_url": broken.url + "/v1", "api_key": "a"},
                "two": {"kind": "anthropic", "base_url": well.url + "/v1", "api_key": "b"},
            },
            routes={"auto": {"local": ["lab/m"], "strong": ["lab/m", "two/n"]}},
            attempts={"per_target": 1},
        )
        async with running(given) as gateway:
            body = question(door, "Hi", stream=stream, model="auto")
            status, raw = await ask(gateway, door, body, stream=stream, model="auto")
        assert status == 200
        found = read(door, raw, stream=stream)
        assert (found.text, found.finish, found.usage) == (HELLO.text, "stop", HELLO.usage)
        assert (len(broken.received), len(well.received)) == (1, 1)
        if door in ("openai", "anthropic"):
            assert raw.count(b'"role":"assistant"') == 1


async def test_a_page_for_a_browser_and_a_sentence_for_clients() -> None:
    async with lab("openai") as (gateway, _):
        async with gateway.session.get(gateway.url + "/") as response:
            assert await response.text() == "Ollama is running"
            assert response.content_type == "text/plain"
        async with gateway.session.get(
            gateway.url + "/", headers={"Accept": "text/html,*/*"}
        ) as response:
            assert response.content_type == "text/html"
