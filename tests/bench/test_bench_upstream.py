"""The cheap upstream's bytes are what OpenAI's clients expect."""

import asyncio

import aiohttp
import orjson
import pytest

from bench import script

CHAT = "/v1/chat/completions"


async def ask(
    port: int, model: str, *, stream: bool, usage: bool = False
) -> tuple[aiohttp.ClientResponse, bytes]:
    body: dict[str, object] = {
        "messages": [{"role": "user", "content": 'say "model": "burst-3", "stream": true'}],
        "model": model,
        "stream": stream,
    }
    if usage:
        body["stream_options"] = {"include_usage": True}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}{CHAT}", data=orjson.dumps(body)) as answer,
    ):
        return answer, await answer.read()


def events(body: bytes) -> list[dict[str, object]]:
    """The chunks before `[DONE]`, which must be the last event."""
    *found, done, rest = body.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [orjson.loads(event.removeprefix(b"data: ")) for event in found]


def text(chunks: list[dict[str, object]]) -> str:
    found = ""
    for chunk in chunks:
        choices = chunk["choices"]
        assert isinstance(choices, list)
        found += "".join(choice["delta"].get("content", "") for choice in choices)
    return found


@pytest.mark.parametrize(
    ("model", "chunks"), [("oneshot", 32), ("burst-40", 40), ("chunks-5-2ms", 5), ("burst-1", 1)]
)
async def test_a_stream_holds_every_chunk_in_order_and_a_finish(
    upstream: int, model: str, chunks: int
) -> None:
    answer, body = await ask(upstream, model, stream=True)
    assert answer.status == 200
    assert answer.content_type == "text/event-stream"
    found = events(body)
    assert len(found) == chunks + 1
    assert text(found) == script.text_of(chunks)
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in found} == {model}
    assert found[-1]["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]


async def test_usage_comes_only_when_it_is_asked_for(upstream: int) -> None:
    _, silent = await ask(upstream, "burst-20", stream=True)
    _, told = await ask(upstream, "burst-20", stream=True, usage=True)
    assert all("usage" not in chunk for chunk in events(silent))
    last = events(told)[-1]
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


async def test_a_one_shot_answer_is_one_document(upstream: int) -> None:
    answer, body = await ask(upstream, "oneshot", stream=False)
    said = orjson.loads(body)
    assert answer.content_length == len(body)
    assert said["object"] == "chat.completion"
    assert said["choices"][0]["message"]["content"] == script.text_of(32)
    assert said["usage"]["completion_tokens"] == 32


def test_a_chunk_is_about_as_long_as_a_vendors() -> None:
    said = script.script("chunks-64-10ms")
    assert said is not None
    assert said.interval_s == 0.01
    assert len(said.writes) == 64
    assert 150 <= len(said.writes[1]) <= 210


def test_a_burst_is_written_sixteen_chunks_at_a_time() -> None:
    said = script.script("burst-512")
    assert said is not None
    assert [one.count(script.MARK) for one in said.writes] == [16] * 32


@pytest.mark.parametrize("model", ["gpt-4o", "burst-0", "burst-5000", "chunks-5-2000ms"])
async def test_an_unknown_script_is_not_found(upstream: int, model: str) -> None:
    answer, body = await ask(upstream, model, stream=True)
    assert answer.status == 404
    assert "model" in orjson.loads(body)["error"]["message"]


async def test_the_models_are_listed(upstream: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{upstream}/v1/models") as answer,
    ):
        listed = [row["id"] for row in (await answer.json())["data"]]
    assert listed == list(script.NAMES)


async def test_requests_in_any_pieces_and_one_behind_the_other_are_all_answered(
    upstream: int,
) -> None:
    body = b'{"model" : "burst-20", "stream" : true}'
    head = b"POST %b HTTP/1.1\r\nHost: a\r\ncontent-length: %d\r\n" % (CHAT.encode(), len(body))
    both = head + b"\r\n" + body + head + b"Connection: close\r\n\r\n" + body
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream)
    for at in range(0, len(both), 7):
        writer.write(both[at : at + 7])
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answered.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answered.count(script.MARK) == 40


async def test_a_body_without_a_length_is_refused(upstream: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream)
    writer.write(b"POST %b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" % CHAT.encode())
    async with asyncio.timeout(10):
        answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answered.startswith(b"HTTP/1.1 411 ")
