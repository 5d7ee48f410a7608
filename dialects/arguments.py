"""Arguments of a tool call: an object on most wires, JSON text in our words.

orjson reads 1024 levels of nesting and writes 254, so not all that came can be sent on.
"""

from __future__ import annotations

from functools import reduce

import orjson

from chat.request import Json
from dialects.upstream_errors import malformed

RAW = "_raw"
"""Field for arguments that are no JSON object: nothing is lost, nothing crashes."""
_DEEPEST = 200
"""Levels that arguments may have inside of a body."""
_WRITTEN = 254


def as_object(text: str) -> dict[str, Json]:
    """JSON text of an object; "" stands for {}; anything else is kept under `_raw`."""
    if not text or text == "{}" or text.isspace():
        return {}
    try:
        value = orjson.loads(text)
        if text.count("{") + text.count("[") > _DEEPEST:
            orjson.dumps(reduce(lambda inner, _: [inner], range(_WRITTEN - _DEEPEST), value))
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return {RAW: text}
    return value if isinstance(value, dict) else {RAW: text}


def as_text(value: Json) -> str:
    """What an upstream sent as arguments, which is text, an object, or nothing: "". Raises
    Broken when it is nested too deep."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise malformed("a tool call whose arguments are nested too deep") from None
