"""JSON in which no reader can take a character for the end of a line.

Clients part lines where their language does: Python also at U+0085, U+2028 and U+2029.
"""

from __future__ import annotations

import json

import orjson

from chat.request import Json
from dialects.upstream_errors import malformed

_encode = json.JSONEncoder(separators=(",", ":")).encode
_SEPARATORS = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


def ascii_json(value: Json) -> bytes:
    """One line, everything beyond ASCII escaped."""
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Nested deeper, or larger numbers, than orjson writes.
        return _encode(value).encode("ascii")
    return written if written.isascii() else _encode(value).encode("ascii")


def rewritten(value: Json) -> bytes:
    """A frame of the upstream's that was changed on its way. Raises Broken when it is nested
    too deep to be written."""
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise malformed("a frame that is nested too deep") from None
    return written if written.isascii() else _encode(value).encode("ascii")


def one_line(data: bytes) -> bytes:
    """The same JSON text without line ends of any kind; otherwise byte for byte."""
    if not data.isascii():
        for raw, escaped in _SEPARATORS:
            data = data.replace(raw, escaped)
    return data.replace(b"\n", b" ") if b"\n" in data else data
