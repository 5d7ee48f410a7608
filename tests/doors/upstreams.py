"""The same answer as each of the four kinds of upstream would send it, whole and as a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tests.replay.server import SSE, Play

NDJSON = "application/x-ndjson"
JSON = "application/json"
KEY = "sk-secret-0123456789abcdef"
KINDS = ("openai", "anthropic", "gemini", "ollama")
BASES = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta", "ollama": ""}


@dataclass(frozen=True)
class Call:
    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What the model says. `finish` in OpenAI's words; `usage` is (input, output)."""

    pieces: tuple[str, ...] = ("  Naïve ", "漢字 🙂", "\n\u2028end\u0085 ")
    thoughts: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    usage: tuple[int, int] = (7, 5)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


WEATHER = Call("call_paris1", "weather", {"city": "Paris", "days": 2})
HELLO = Said()
LENGTH = Said(finish="length")
CALLS = Said(
    pieces=("I look. ",),
    calls=(WEATHER, Call("call_rome2", "weather", {"city": "Röm"})),
    finish="tool_calls",
)
THOUGHT = Said(pieces=("Four.",), thoughts=("Two and ", "two."))
EVERYTHING = Said(
    pieces=("I look. ",), thoughts=("Hm.",), calls=CALLS.calls, finish="tool_calls", usage=(9, 8)
)
OBJECT = Said(pieces=('{"name": "Ann', '", "age": 7}'))


def provider(kind: str, url: str, **more: Any) -> dict[str, Any]:
    """Settings of an upstream of this kind."""
    return {"kind": kind, "base_url": url + BASES[kind], "api_key": KEY, "models": ["m"], **more}


def play(kind: str, said: Said, stream: bool, **knobs: Any) -> Play:
    if stream:
        content_type = NDJSON if kind == "ollama" else SSE
        return Play(STREAMS[kind](said), content_type=content_type, **knobs)
    return Play(orjson.dumps(WHOLES[kind](said)), content_type=JSON, **knobs)


def cut_short(kind: str) -> Play:
    """A stream whose connection breaks in the middle of its text."""
    return play(kind, HELLO, True, cut=_middle(kind))


def stalled(kind: str) -> Play:
    """A stream that says nothing more from the middle of its text on."""
    return play(kind, HELLO, True, stall=_middle(kind))


def _middle(kind: str) -> int:
    return STREAMS[kind](HELLO).index("🙂".encode()) + 20


def _data(body: Any) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def openai_stream(said: Said) -> bytes:
    head = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "m-up"}

    def frame(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _data({**head, "choices": [choice]})

    frames = [frame({"role": "assistant", "content": ""})]
    frames += [frame({"reasoning_content": thought}) for thought in said.thoughts]
    frames += [frame({"content": piece}) for piece in said.pieces]
    for index, call in enumerate(said.calls):
        first = {"id": call.id, "type": "function", "function": {"name": call.name}}
        frames.append(frame({"tool_calls": [{"index": index, **first}]}))
        text = orjson.dumps(call.arguments).decode()
        for part in (text[:5], text[5:]):
            function = {"function": {"arguments": part}}
            frames.append(frame({"tool_calls": [{"index": index, **function}]}))
    frames.append(frame({}, said.finish))
    frames.append(_data({**head, "choices": [], "usage": _openai_usage(said)}))
    return b"".join([*frames, b"data: [DONE]\n\n"])


def openai_body(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.thoughts:
        message["reasoning_content"] = "".join(said.thoughts)
    if said.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": orjson.dumps(call.arguments).decode(),
                },
            }
            for call in said.calls
        ]
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": "m-up",
        "choices": [{"index": 0, "message": message, "finish_reason": said.finish}],
        "usage": _openai_usage(said),
    }


def _openai_usage(said: Said) -> dict[str, int]:
    counted, answered = said.usage
    return {
        "prompt_tokens": counted,
        "completion_tokens": answered,
        "total_tokens": counted + answered,
    }


STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _blocks(said: Said) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thoughts:
        thinking = "".join(said.thoughts)
        blocks.append({"type": "thinking", "thinking": thinking, "signature": "c2ln"})
    if said.pieces:
        blocks.append({"type": "text", "text": said.text})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        for call in said.calls
    ]
    return blocks


def anthropic_body(said: Said) -> dict[str, Any]:
    return {
        "id": "msg_up",
        "type": "message",
        "role": "assistant",
        "model": "m-up",
        "content": _blocks(said),
        "stop_reason": STOPS[said.finish],
        "stop_sequence": None,
        "usage": {"input_tokens": said.usage[0], "output_tokens": said.usage[1]},
    }


def anthropic_stream(said: Said) -> bytes:
    start = {**anthropic_body(said), "content": [], "stop_reason": None}
    start["usage"] = {"input_tokens": said.usage[0], "output_tokens": 1}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(_blocks(said)):
        events += _block_events(index, block, said)
    events += [
        {
            "type": "message_delta",
            "delta": {"stop_reason": STOPS[said.finish], "stop_sequence": None},
            "usage": {"output_tokens": said.usage[1]},
        },
        {"type": "message_stop"},
    ]
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    )


def _block_events(index: int, block: dict[str, Any], said: Said) -> list[dict[str, Any]]:
    deltas: Sequence[dict[str, Any]]
    empty: dict[str, Any]
    if block["type"] == "thinking":
        empty = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in said.thoughts]
        deltas = [*deltas, {"type": "signature_delta", "signature": "c2ln"}]
    elif block["type"] == "text":
        empty = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in said.pieces]
    else:
        empty = {**block, "input": {}}
        text = orjson.dumps(block["input"]).decode()
        parts = ("", text[:5], text[5:])
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return [
        {"type": "content_block_start", "index": index, "content_block": empty},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _gemini(parts: list[dict[str, Any]], said: Said, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = "MAX_TOKENS" if said.finish == "length" else "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": said.usage[0],
            "candidatesTokenCount": said.usage[1],
            "totalTokenCount": sum(said.usage),
        },
        "modelVersion": "m-up",
        "responseId": "r-up",
    }


def _gemini_parts(said: Said) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": text, "thought": True} for text in said.thoughts]
    parts += [{"text": piece} for piece in said.pieces]
    # Without ids, as Gemini sends them.
    parts += [{"functionCall": {"name": one.name, "args": one.arguments}} for one in said.calls]
    return parts


def gemini_body(said: Said) -> dict[str, Any]:
    return _gemini(_gemini_parts(said), said, last=True)


def gemini_stream(said: Said) -> bytes:
    parts = _gemini_parts(said)
    return b"".join(
        b"data: %b\r\n\r\n" % orjson.dumps(_gemini([part], said, part is parts[-1]))
        for part in parts
    )


def _ollama(message: dict[str, Any], said: Said, last: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "model": "m-up",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": "", **message},
        "done": last,
    }
    if last:
        line |= {
            "done_reason": "length" if said.finish == "length" else "stop",
            "prompt_eval_count": said.usage[0],
            "eval_count": said.usage[1],
        }
    return line


def _ollama_calls(said: Said) -> dict[str, Any]:
    if not said.calls:
        return {}
    return {
        "tool_calls": [
            {"function": {"name": call.name, "arguments": call.arguments}} for call in said.calls
        ]
    }


def ollama_body(said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"content": said.text, **_ollama_calls(said)}
    if said.thoughts:
        message["thinking"] = "".join(said.thoughts)
    return _ollama(message, said, last=True)


def ollama_stream(said: Said) -> bytes:
    lines = [_ollama({"thinking": thought}, said, last=False) for thought in said.thoughts]
    lines += [_ollama({"content": piece}, said, last=False) for piece in said.pieces]
    if said.calls:
        lines.append(_ollama(_ollama_calls(said), said, last=False))
    lines.append(_ollama({}, said, last=True))
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)


STREAMS = {
    "openai": openai_stream,
    "anthropic": anthropic_stream,
    "gemini": gemini_stream,
    "ollama": ollama_stream,
}
WHOLES = {
    "openai": openai_body,
    "anthropic": anthropic_body,
    "gemini": gemini_body,
    "ollama": ollama_body,
}
ERRORS: dict[str, dict[int, Any]] = {
    "openai": {
        status: {"error": {"message": "No room.", "type": "t", "param": None, "code": None}}
        for status in (400, 401, 404, 429, 500, 503)
    },
    "anthropic": {
        status: {"type": "error", "error": {"type": kind, "message": "No room."}}
        for status, kind in {
            400: "invalid_request_error",
            401: "authentication_error",
            404: "not_found_error",
            429: "rate_limit_error",
            500: "api_error",
            503: "overloaded_error",
        }.items()
    },
    "gemini": {
        status: {"error": {"code": status, "message": "No room.", "status": word}}
        for status, word in {
            400: "INVALID_ARGUMENT",
            401: "UNAUTHENTICATED",
            404: "NOT_FOUND",
            429: "RESOURCE_EXHAUSTED",
            500: "INTERNAL",
            503: "UNAVAILABLE",
        }.items()
    },
    "ollama": {status: {"error": "No room."} for status in (400, 401, 404, 429, 500, 503)},
}


def refusal(kind: str, status: int, **headers: str) -> Play:
    return Play(orjson.dumps(ERRORS[kind][status]), status, JSON, headers=headers)
