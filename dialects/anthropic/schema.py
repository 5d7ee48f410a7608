"""JSON Schema -> the part of it that output_config.format takes.

Anthropic refuses schemas whose objects are open and limits on numbers, strings and lists; its
own SDK closes the objects and tells the limits in `description`, and so do we. A schema that
already fits comes out as it went in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chat.request import Json

_FORMATS: Final = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    }
)
_LIMITS: Final = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)
_MAPS: Final = ("properties", "$defs", "definitions")
_LISTS: Final = ("anyOf", "allOf", "prefixItems")


def closed(schema: Mapping[str, Json]) -> dict[str, Json]:
    """A copy that Anthropic takes, as far as we know how to make one."""
    wire: dict[str, Json] = {}
    told: list[str] = []
    for word, value in schema.items():
        if _is_only_told(word, value):
            told.append(f"{word}: {value}")
        elif word in _MAPS and isinstance(value, dict):
            wire[word] = {name: _closed(inner) for name, inner in value.items()}
        elif word in _LISTS and isinstance(value, list):
            wire[word] = [_closed(inner) for inner in value]
        elif word == "oneOf" and isinstance(value, list) and "anyOf" not in schema:
            wire["anyOf"] = [_closed(inner) for inner in value]
        elif word == "items":
            wire[word] = _closed(value)
        elif word != "additionalProperties":
            wire[word] = value
    if schema.get("type") == "object" or "properties" in schema:
        wire["additionalProperties"] = False
    if told:
        before = wire.get("description")
        limits = "{" + ", ".join(told) + "}"
        wire["description"] = f"{before}\n\n{limits}" if isinstance(before, str) else limits
    return wire


def _is_only_told(word: str, value: Json) -> bool:
    if word == "minItems":
        return value not in (0, 1)
    if word == "format":
        return not isinstance(value, str) or value not in _FORMATS
    return word in _LIMITS


def _closed(schema: Json) -> Json:
    return closed(schema) if isinstance(schema, dict) else schema
