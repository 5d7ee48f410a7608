"""Reading what an upstream answered: a value of the wrong kind is as good as absent."""

from __future__ import annotations

from chat.request import Json


def string(value: Json) -> str:
    return value if isinstance(value, str) else ""


def count(value: Json) -> int | None:
    """A number of tokens; 3.0 passes, as some hosts write it so."""
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None
