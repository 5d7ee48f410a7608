"""One language at both ends: what the upstream sends comes out byte for byte, and what the gateway
does not know passes in both directions."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from tests.doors.clients import ask, question
from tests.doors.lab import lab
from tests.doors.upstreams import JSON, KINDS, NDJSON
from tests.replay.server import SSE, Play

# Spaces, an order and fields that nobody here would write; `MODEL` stands for the model's name.
STREAMS = {
    "openai": (
        b'data: {"x_first":{"a": [1, 2]}, "id":"c-1","object":"chat.completion.chunk","created":9,'
        b'"model":"MODEL","choices":[{"delta":{"role":"assistant","content":"Na\xc3\xafve ",'
        b'"x_more":null},"index":0,"finish_reason":null,"logprobs":null}]}\n\n'
        b'data: {"id":"c-1","object":"chat.completion.chunk","created":9,"model":"MODEL",'
        b'"choices":[{"index":0,"delta":{"content":"\\ud83d\\ude42"},"finish_reason": "stop"}]}\n\n'
        b'data: {"id":"c-1","object":"chat.completion.chunk","created":9,"model":"MODEL","choices":'
        b'[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12,"x_cost":0.5}}\n\n'
        b"data: [DONE]\n\n"
    ),
    "anthropic": (
        b'event: message_start\ndata: {"type":"message_start","x_first":1,"message":{"id":"msg_1",'
        b'"type":"message","role":"assistant","model":"MODEL","content":[],"stop_reason":null,'
        b'"stop_sequence":null,"usage":{"input_tokens": 7,"output_tokens":1,"x_tier":"b"}}}\n\n'
        b'event: ping\ndata: {"type": "ping"}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"Na\xc3\xafve \\ud83d\\ude42"}}\n\n'
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn",'
        b'"stop_sequence":null},"usage":{"output_tokens":5},"x_more":[ ]}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    ),
    "gemini": (
        b'data: {"candidates": [{"content": {"parts": [{"text": "Na\xc3\xafve "}],"role": "model"},'
        b'"index": 0,"xFirst": {}}],"usageMetadata": {"promptTokenCount": 7},'
        b'"modelVersion": "MODEL"}\r\n\r\n'
        b'data: {"candidates": [{"content": {"parts": [{"text": "\\ud83d\\ude42"}],'
        b'"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": '
        b'{"promptTokenCount": 7,"candidatesTokenCount": 5,"totalTokenCount": 12,"xMore": 1},'
        b'"modelVersion": "MODEL","responseId": "r"}\r\n\r\n'
    ),
    "ollama": (
        b'{"model":"MODEL","created_at":"2026-01-01T00:00:00Z","x_first":[1, 2],'
        b'"message":{"role":"assistant","content":"Na\xc3\xafve "},"done":false}\n'
        b'{"model":"MODEL","created_at":"2026-01-01T00:00:01Z","message":{"role":"assistant",'
        b'"content":"\\ud83d\\ude42"},"done":true,"done_reason":"stop","x_more": null,'
        b'"prompt_eval_count":7,"eval_count":5}\n'
    ),
}
WHOLES = {
    "openai": (
        b'{ "x_first":1,"id":"c-1","object":"chat.completion","created":9,"model":"MODEL","choices"'
        b':[{"index":0,"message":{"role":"assistant","content":"Na\xc3\xafve","x_more":{}},'
        b'"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,'
        b'"total_tokens":12}}'
    ),
    "anthropic": (
        b'{"id":"msg_1","type":"message","role":"assistant", "model":"MODEL","x_first":1,"content":'
        b'[{"type":"text","text":"Na\xc3\xafve"}],"stop_reason":"end_turn","stop_sequence":null,'
        b'"usage":{"input_tokens":7,"output_tokens":5,"x_more":{}}}'
    ),
    "gemini": (
        b'{"candidates": [{"content": {"parts": [{"text": "Na\xc3\xafve"}],"role": "model"},'
        b'"finishReason": "STOP","xFirst": {}}],"usageMetadata": {"promptTokenCount": 7,'
        b'"candidatesTokenCount": 5,"totalTokenCount": 12},"modelVersion": "MODEL"}'
    ),
    "ollama": (
        b'{"model":"MODEL","created_at":"2026-01-01T00:00:00Z","x_first":[1, 2],"message":{"role":'
        b'"assistant","content":"Na\xc3\xafve"},"done":true,"done_reason":"stop",'
        b'"prompt_eval_count":7,"eval_count":5}'
    ),
}
UNKNOWN: dict[str, Any] = {"x_new": {"deep": [1, None, "é"]}, "x_flag": False}


def named(kind: str, body: bytes) -> bytes:
    """With the name that the caller reads: of Ollama's the one that he asked, else who answered."""
    return body.replace(b"MODEL", b"lab/m" if kind == "ollama" else b"m")


def pairs(raw: bytes) -> Any:
    """JSON with the order of its fields."""
    return json.loads(raw, object_pairs_hook=list)


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize("kind", KINDS)
async def test_frames_pass_byte_for_byte_but_for_the_models_name(
    kind: str, size: int | None
) -> None:
    content_type = NDJSON if kind == "ollama" else SSE
    plays = Play(STREAMS[kind].replace(b"MODEL", b"theirs"), content_type=content_type, chunk=size)
    async with lab(kind, plays) as (gateway, _):
        status, raw = await ask(gateway, kind, question(kind, "Hi", stream=True), stream=True)
    assert status == 200
    # Google's own line ends are the one thing between frames that is made one.
    wanted = named(kind, STREAMS[kind]).replace(b"\r\n", b"\n")
    if kind == "anthropic":
        # Its first event has the name deep inside, and is written anew.
        first, _, rest = raw.partition(b"\n\n")
        wanted_first, _, wanted = wanted.partition(b"\n\n")
        assert pairs(first.partition(b"data: ")[2]) == pairs(wanted_first.partition(b"data: ")[2])
        raw = rest
    assert raw == wanted


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_answer_has_the_same_fields_in_the_same_order(kind: str) -> None:
    plays = Play(WHOLES[kind].replace(b"MODEL", b"theirs"), content_type=JSON)
    async with lab(kind, plays) as (gateway, _):
        status, raw = await ask(gateway, kind, question(kind, "Hi", stream=False), stream=False)
    assert status == 200
    assert pairs(raw) == pairs(named(kind, WHOLES[kind]))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_fields_that_nobody_knows_reach_the_upstream(kind: str, stream: bool) -> None:
    body = (STREAMS if stream else WHOLES)[kind]
    content_type = (NDJSON if kind == "ollama" else SSE) if stream else JSON
    async with lab(kind, Play(body, content_type=content_type)) as (gateway, upstream):
        asked = {**question(kind, "Hi", stream=stream), **UNKNOWN}
        turn = asked["contents" if kind == "gemini" else "messages"][0]
        turn["x_turn"] = 1.5
        status, _ = await ask(gateway, kind, asked, stream=stream)
        assert status == 200
        sent = upstream.received[0].body
    assert {name: sent[name] for name in UNKNOWN} == UNKNOWN
    assert sent["contents" if kind == "gemini" else "messages"] == [turn]
    # What was asked is all there, in the same words; only the model has its own name.
    for name, value in asked.items():
        assert orjson.dumps(sent[name]) == orjson.dumps("m" if name == "model" else value)


@pytest.mark.parametrize("size", [None, 1])
async def test_usage_that_the_caller_did_not_ask_for_stays_hidden(size: int | None) -> None:
    """It is asked for all the same, since it is counted."""
    body = STREAMS["openai"].replace(b"MODEL", b"m")
    frames = body.split(b"\n\n")
    async with lab("openai", Play(body, chunk=size)) as (gateway, upstream):
        asked = question("openai", "Hi", stream=True)
        del asked["stream_options"]
        status, raw = await ask(gateway, "openai", asked, stream=True)
        assert upstream.received[0].body["stream_options"] == {"include_usage": True}
        assert gateway.summed("pointsman_tokens_total") == 12
    assert status == 200
    assert raw == b"\n\n".join(frame for frame in frames if b'"usage"' not in frame)
