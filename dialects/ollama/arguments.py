"""Arguments of a tool call: an object on Ollama's wire, JSON text in our words."""

from __future__ import annotations

import orjson

from chat.request import Json

RAW = "_raw"
"""Field for arguments that are no JSON object: nothing is lost, nothing crashes."""
_DEEPEST = 250
"""orjson reads 1024 levels and writes 254."""


def as_object(text: str) -> dict[str, Json]:
    """JSON text of an object; "" stands for {}; anything else is kept under `_raw`."""
    if not text or text == "{}" or text.isspace():
        return {}
    try:
        value = orjson.loads(text)
        if text.count("{") + text.count("[") > _DEEPEST:
            orjson.dumps(value)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return {RAW: text}
    return value if isinstance(value, dict) else {RAW: text}


def as_text(value: Json) -> str:
    """What stood under `arguments`, as JSON text. Raises orjson.JSONEncodeError when it is
    nested too deep."""
    if isinstance(value, str):
        return value
    return orjson.dumps({} if value is None else value).decode()
