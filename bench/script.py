"""What the cheap upstream says, byte for byte, worked out before anybody asks.

A script is named by the request's `model`:

    oneshot            32 chunks in one write, or one JSON document
    chunks-64-10ms     64 chunks, one each 10 ms
    burst-512          512 chunks, 16 to a write, no delay

Each chunk carries one numbered mark (`mark0007 `) as its text. A mark survives any dialect, so
a reader can tell loss, doubling and disorder apart without knowing the dialect.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import orjson

NAMES = ("oneshot", "chunks-64-10ms", "chunks-250-20ms", "burst-512")
"""The models that `/v1/models` lists; any other name of the same form is answered too."""

MARK = b"mark"
ONESHOT_CHUNKS = 32
BURST_PER_WRITE = 16
MAX_CHUNKS = 4096
MAX_INTERVAL_MS = 1000

_CREATED = 1_767_225_600
_PACED = re.compile(r"chunks-(\d{1,4})-(\d{1,4})ms")
_BURST = re.compile(r"burst-(\d{1,4})")


@dataclass(frozen=True)
class Script:
    """One model's answer: ready bytes, HTTP framing included."""

    model: str
    chunks: int
    interval_s: float
    """Pause between two writes of a stream; 0.0 is no pause."""
    document: bytes
    """The whole HTTP response to a request that does not stream."""
    writes: tuple[bytes, ...]
    """The stream in the pieces in which it is written, its head in the first."""
    last: bytes
    """Finish chunk and `[DONE]`, framed, with the closing chunk of HTTP."""
    last_with_usage: bytes
    """The same with the usage chunk that `stream_options.include_usage` asks for."""


def text_of(chunks: int) -> str:
    """The whole text of an answer of so many chunks."""
    return "".join(f"{MARK.decode()}{number:04d} " for number in range(chunks))


def plan_of(model: str) -> tuple[int, float, int] | None:
    """Chunks, seconds between writes and chunks a write; None for a name of another form."""
    if model == "oneshot":
        return ONESHOT_CHUNKS, 0.0, ONESHOT_CHUNKS
    if paced := _PACED.fullmatch(model):
        chunks, interval_ms, group = int(paced[1]), int(paced[2]), 1
    elif burst := _BURST.fullmatch(model):
        chunks, interval_ms, group = int(burst[1]), 0, BURST_PER_WRITE
    else:
        return None
    if not 1 <= chunks <= MAX_CHUNKS or interval_ms > MAX_INTERVAL_MS:
        return None
    return chunks, interval_ms / 1000, group


@lru_cache(maxsize=64)
def script(model: str) -> Script | None:
    """The bytes for a model's name; None when no script has that name."""
    plan = plan_of(model)
    if plan is None:
        return None
    chunks, interval_s, group = plan
    framed = [_framed(_event(_delta(model, number))) for number in range(chunks)]
    writes = [b"".join(framed[start : start + group]) for start in range(0, chunks, group)]
    writes[0] = _STREAM_HEAD + writes[0]
    finish = _framed(_event(_chunk(model, [{"index": 0, "delta": {}, "finish_reason": "stop"}])))
    usage = _framed(_event({**_chunk(model, []), "usage": _usage(chunks)}))
    close = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return Script(
        model=model,
        chunks=chunks,
        interval_s=interval_s,
        document=response(200, _document(model, chunks)),
        writes=tuple(writes),
        last=finish + close,
        last_with_usage=finish + usage + close,
    )


def response(status: int, body: dict[str, object]) -> bytes:
    """A whole HTTP/1.1 response with a JSON body."""
    payload = orjson.dumps(body)
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


def error(status: int, message: str) -> bytes:
    """An error as OpenAI words it, as a whole HTTP response."""
    kind = "invalid_request_error"
    return response(status, {"error": {"message": message, "type": kind, "code": None}})


def models() -> bytes:
    """The answer to `GET /v1/models`."""
    rows = [
        {"id": name, "object": "model", "created": _CREATED, "owned_by": "bench"} for name in NAMES
    ]
    return response(200, {"object": "list", "data": rows})


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 411: "Length Required"}
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def _event(body: dict[str, object]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _chunk(model: str, choices: list[dict[str, object]]) -> dict[str, object]:
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": model,
        "choices": choices,
    }


def _delta(model: str, number: int) -> dict[str, object]:
    delta = {"content": f"{MARK.decode()}{number:04d} "}
    if number == 0:
        delta = {"role": "assistant", **delta}
    return _chunk(model, [{"index": 0, "delta": delta, "finish_reason": None}])


def _usage(chunks: int) -> dict[str, int]:
    return {"prompt_tokens": 100, "completion_tokens": chunks, "total_tokens": 100 + chunks}


def _document(model: str, chunks: int) -> dict[str, object]:
    message = {"role": "assistant", "content": text_of(chunks)}
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": _CREATED,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(chunks),
    }
