"""Rows of the case table about an upstream's bytes, by their id (PROTOCOLS 10)."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.doors.upstreams import (
    CALLS,
    HELLO,
    JSON,
    NDJSON,
    THOUGHT,
    Said,
    anthropic_stream,
    gemini_stream,
    ollama_stream,
    openai_body,
    openai_stream,
)
from tests.replay.server import SSE

OTHERS = {
    "openai": ("anthropic", "ollama", "responses"),
    "anthropic": ("openai", "gemini", "responses"),
    "gemini": ("openai", "anthropic", "responses"),
    "ollama": ("openai", "anthropic", "responses"),
}


@dataclass(frozen=True)
class Row:
    """`error`: a word of the failure that ends it; `said` is what came before. `own`: the relay
    tells it alike."""

    id: str
    kind: str
    body: bytes
    said: Said = HELLO
    error: str | None = None
    own: bool = True
    usage: bool = True
    content_type: str = SSE
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    clean: bool = False


def unlucky(id_: str, body: bytes) -> Row:
    return Row(id_, "openai", body, error="out of luck")


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m-up"}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + orjson.dumps({**head, "choices": [choice], **more}) + b"\n\n"


def tool(index: int | None, id_: str | None, name: str | None, arguments: Any) -> bytes:
    function: dict[str, Any] = {"arguments": arguments}
    call: dict[str, Any] = {"function": function}
    if name is not None:
        function["name"] = name
    if id_ is not None:
        call |= {"id": id_, "type": "function"}
    if index is not None:
        call["index"] = index
    return chunk({"tool_calls": [call]})


DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n'
PLAIN = openai_stream(HELLO)
FRAMES = PLAIN.split(b"\n\n")[:-1]
BEGUN = b"\n\n".join(FRAMES[:4]) + b"\n\n"
TEXT = HELLO.text.encode()
TWO = Said(pieces=(), calls=CALLS.calls, finish="tool_calls")
ONE_EMPTY = Said(
    pieces=(), calls=(CALLS.calls[0].__class__("c", "weather", {}),), finish="tool_calls"
)
A = b'{"city": "Paris", "days": 2}'.decode()
B = '{"city": "R\u00f6m"}'
FINISH_CALLS = chunk({}, "tool_calls") + USAGE + DONE

OPENAI = [
    Row("F01-crlf", "openai", PLAIN.replace(b"\n", b"\r\n")),
    Row("F01-cr", "openai", PLAIN.replace(b"\n", b"\r")),
    Row("F02", "openai", PLAIN),
    Row("F03", "openai", b"\xef\xbb\xbf" + PLAIN),
    Row("F04", "openai", PLAIN.replace(b"data: ", b"data:")),
    Row(
        "F05",
        "openai",
        b": OPENROUTER PROCESSING\n\n" + PLAIN.replace(b"data: {", b": ping\ndata: {") + b": bye\n",
    ),
    Row("F06", "openai", PLAIN.replace(b',"object":', b',\ndata: "object":')),
    Row(
        "F07",
        "openai",
        b"id: 1\nretry: 5\nevent: ping\ndata:\n\nevent: ping\n\n"
        + PLAIN.replace(b"data: {", b"id: 7\ndata: {"),
    ),
    Row("F08-no-blank-line", "openai", PLAIN.rstrip(b"\n")),
    Row("F08-no-done", "openai", PLAIN.replace(DONE, b"")),
    Row("F09", "openai", BEGUN, error="ended"),
    Row("F10", "openai", PLAIN, cut=PLAIN.index(b'"finish_reason":"stop"') - 30, error="cut"),
    Row("F11", "openai", PLAIN[: PLAIN.index(b'"finish_reason":"stop"')], error="not JSON"),
    Row(
        "F12", "openai", openai_stream(Said(pieces=("x" * 300 * 1024,))), Said(("x" * 300 * 1024,))
    ),
    Row("F13", "openai", PLAIN),
    Row("F14", "openai", PLAIN + chunk({"content": "more"})),
    Row("F15", "openai", orjson.dumps(openai_body(HELLO)), own=False, content_type=JSON),
    Row("F16", "openai", gzip.compress(PLAIN), headers={"Content-Encoding": "gzip"}),
    unlucky("F17-field", BEGUN + b'error: {"code":500,"message":"out of luck"}\n\n'),
    unlucky("F17-object", BEGUN + b'data: {"error":{"message":"out of luck"}}\n\n'),
    unlucky("F17-string", BEGUN + b'data: {"error":"out of luck"}\n\n'),
    unlucky("F18", b'{\n  "error": {\n    "message": "out of luck",\n    "code": 500\n  }\n}\n'),
    unlucky("F18-after", BEGUN + b'{\n  "error": {\n    "message": "out of luck"\n  }\n}\n'),
    Row(
        "F19",
        "openai",
        chunk({"role": "assistant", "content": "  Na\u00efve "})
        + chunk({"content": "漢字 🙂"})
        + chunk({"content": "\n\u2028end\u0085 "}, "stop")
        + USAGE
        + DONE,
    ),
    Row(
        "F20",
        "openai",
        openai_stream(Said((" ", "\n", "\n\n", "  x", "\t"))),
        Said((" ", "\n", "\n\n", "  x", "\t")),
    ),
    Row(
        "T01",
        "openai",
        tool(0, "a", "weather", "")
        + tool(0, None, None, A)
        + tool(1, "b", "weather", "")
        + tool(1, None, None, B)
        + FINISH_CALLS,
        TWO,
    ),
    Row(
        "T02",
        "openai",
        tool(0, "a", "weather", A[:9])
        + tool(1, "b", "weather", B[:5])
        + tool(0, None, None, A[9:])
        + tool(1, None, None, B[5:])
        + FINISH_CALLS,
        TWO,
    ),
    Row(
        "T03",
        "openai",
        tool(0, "a", "weather", A) + tool(0, "b", "weather", B) + FINISH_CALLS,
        TWO,
        own=False,
    ),
    Row(
        "T04",
        "openai",
        tool(None, None, "weather", A) + tool(None, None, "weather", B) + FINISH_CALLS,
        TWO,
        own=False,
    ),
    Row("T05-empty", "openai", tool(0, "a", "weather", "") + FINISH_CALLS, ONE_EMPTY, own=False),
    Row("T05-object", "openai", tool(0, "a", "weather", {}) + FINISH_CALLS, ONE_EMPTY, own=False),
    Row(
        "T06",
        "openai",
        tool(0, "a", "weather", A) + tool(1, "b", "weather", B) + chunk({}, "stop") + USAGE + DONE,
        TWO,
        own=False,
    ),
    Row(
        "U01-on-finish",
        "openai",
        BEGUN + chunk({}, "stop", usage={"prompt_tokens": 7, "completion_tokens": 5}) + DONE,
    ),
    Row(
        "U01-on-each",
        "openai",
        PLAIN.replace(
            b',"choices":[{', b',"usage":{"prompt_tokens":7,"completion_tokens":5},"choices":[{'
        ),
    ),
    Row("U01-absent", "openai", PLAIN.replace(FRAMES[-2] + b"\n\n", b""), usage=False),
    Row(
        "U02",
        "openai",
        b'data: {"id":"c","choices":null}\n\ndata: {"id":"c"}\n\n' + PLAIN,
        own=False,
    ),
    Row("R01-reasoning_content", "openai", openai_stream(THOUGHT), THOUGHT),
    Row(
        "R01-reasoning",
        "openai",
        openai_stream(THOUGHT).replace(b"reasoning_content", b"reasoning"),
        THOUGHT,
        own=False,
    ),
]

QUIET = anthropic_stream(HELLO)
START = QUIET[: QUIET.index(b"event: content_block_start")]


def event(body: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (body["type"].encode(), orjson.dumps(body))


OVERLOADED = event(
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
)
EARLY = anthropic_stream(HELLO).replace(
    b'{"type":"text","text":""}', b'{"type":"text","text":"first "}'
)
ANTHROPIC = [
    Row("A01-text", "anthropic", QUIET),
    Row("A01-thinking", "anthropic", anthropic_stream(THOUGHT), THOUGHT),
    Row("A01-tools", "anthropic", anthropic_stream(CALLS), CALLS),
    Row("A02", "anthropic", EARLY, Said(("first ", *HELLO.pieces)), own=False),
    Row(
        "A03",
        "anthropic",
        QUIET.replace(
            b"event: content_block_stop",
            event({"type": "surprise", "index": 0})
            + event(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "citations_delta", "citation": {}},
                }
            )
            + b"event: content_block_stop",
        ),
        own=False,
    ),
    Row(
        "A04-after",
        "anthropic",
        QUIET[: QUIET.index(b"event: content_block_stop")] + OVERLOADED,
        error="verloaded",
    ),
    Row("A05-no-stop", "anthropic", QUIET.replace(event({"type": "message_stop"}), b"")),
    Row("A05-cut", "anthropic", QUIET[: QUIET.index(b"event: message_delta")], error="ended"),
    Row(
        "A09",
        "anthropic",
        QUIET.replace(
            b'"input_tokens":7',
            b'"input_tokens":4,"cache_read_input_tokens":2,"cache_creation_input_tokens":1',
        ),
        own=False,
    ),
]
GEMINI = [
    Row("G01-parts", "gemini", gemini_stream(HELLO)),
    Row("G01-calls", "gemini", gemini_stream(CALLS), CALLS),
    Row(
        "G01-several",
        "gemini",
        b"data: "
        + orjson.dumps(
            {
                "candidates": [
                    {
                        "content": {
                            "role": "model",
                            "parts": [{"text": piece} for piece in HELLO.pieces],
                        },
                        "finishReason": "STOP",
                    }
                ],
                "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5},
            }
        )
        + b"\r\n\r\n",
    ),
    Row(
        "G04",
        "gemini",
        gemini_stream(HELLO)[: gemini_stream(HELLO).index(b"\r\n\r\n") + 4]
        + b'data: {"error":{"code":503,"message":"out of luck","status":"UNAVAILABLE"}}\r\n\r\n',
        error="out of luck",
    ),
    Row(
        "G06",
        "gemini",
        b'data: {"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS"}],'
        b'"usageMetadata":{"promptTokenCount":7,"thoughtsTokenCount":5}}\r\n\r\n',
        Said((), finish="length"),
    ),
]
LINES = ollama_stream(HELLO)
OLLAMA = [
    Row("O01-lines", "ollama", LINES, content_type=NDJSON),
    Row("O01-crlf", "ollama", LINES.replace(b"\n", b"\r\n"), content_type=NDJSON),
    Row("O01-blank", "ollama", LINES.replace(b"\n", b"\n\n"), content_type=NDJSON),
    Row("O01-no-end", "ollama", LINES.rstrip(b"\n"), content_type=NDJSON),
    Row(
        "O02",
        "ollama",
        b"\n".join(LINES.split(b"\n")[:2]) + b'\n{"error":"out of luck"}\n',
        error="out of luck",
        content_type=NDJSON,
    ),
    Row(
        "O03",
        "ollama",
        b"\n".join(LINES.split(b"\n")[:2]) + b"\n",
        error="ended",
        content_type=NDJSON,
    ),
    Row(
        "O04",
        "ollama",
        orjson.dumps(
            {
                "model": "m",
                "message": {
                    "role": "assistant",
                    "thinking": "Two and two.",
                    "content": "I look. ",
                    "tool_calls": [
                        {"function": {"name": one.name, "arguments": one.arguments}}
                        for one in CALLS.calls
                    ],
                },
                "done": False,
            }
        )
        + b"\n"
        + ollama_stream(Said(())),
        Said(("I look. ",), ("Two and two.",), CALLS.calls, "tool_calls"),
        content_type=NDJSON,
    ),
]

ROWS = (*OPENAI, *ANTHROPIC, *GEMINI, *OLLAMA)
