"""Reading a caller's JSON with errors that name the field.

Every reader takes the object, the field and, for nested objects, the `path` in front of it, so
that a caller reads "messages[2].content must be a string" and not a stack of a validator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import orjson

from chat.errors import BadRequest
from chat.request import Json


def bad(param: str, message: str) -> NoReturn:
    raise BadRequest(f"{param} {message}", param=param)


def kind_of(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def body_object(body: Json) -> dict[str, Json]:
    if not isinstance(body, dict):
        raise BadRequest(f"The body must be a JSON object, not {kind_of(body)}.")
    return body


def text(body: Mapping[str, Json], field: str, path: str = "") -> str:
    """A required string."""
    value = optional_text(body, field, path)
    if value is None:
        bad(path + field, "is required.")
    return value


def filled_text(body: Mapping[str, Json], field: str, path: str = "") -> str:
    """A required string that is not blank."""
    value = text(body, field, path)
    if not value.strip():
        bad(path + field, "must not be empty.")
    return value


def optional_text(body: Mapping[str, Json], field: str, path: str = "") -> str | None:
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        bad(path + field, f"must be a string, not {kind_of(value)}.")
    return value


def flag(body: Mapping[str, Json], field: str, path: str = "") -> bool | None:
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        bad(path + field, f"must be true or false, not {kind_of(value)}.")
    return value


def number(
    body: Mapping[str, Json],
    field: str,
    path: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
) -> float | None:
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        bad(path + field, f"must be a number, not {kind_of(value)}.")
    _in_range(value, path + field, low, high)
    return float(value)


def integer(
    body: Mapping[str, Json],
    field: str,
    path: str = "",
    *,
    low: int | None = None,
    high: int | None = None,
) -> int | None:
    """A whole number of 64 bits; 3.0 passes, as some clients write it so."""
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        bad(path + field, f"must be a whole number, not {kind_of(value)}.")
    if not -(2**63) <= value < 2**63:
        bad(path + field, "must be a whole number of 64 bits at most.")
    _in_range(value, path + field, low, high)
    return int(value)


def _in_range(value: float, param: str, low: float | None, high: float | None) -> None:
    if low is not None and value < low:
        bad(param, f"must be at least {low}, not {value}.")
    if high is not None and value > high:
        bad(param, f"must be at most {high}, not {value}.")


def objects(
    body: Mapping[str, Json], field: str, path: str = ""
) -> Sequence[tuple[str, dict[str, Json]]]:
    """A list of objects as (path of the object with a dot, object); () when absent."""
    value = body.get(field)
    if value is None:
        return ()
    if not isinstance(value, list):
        bad(path + field, f"must be a list, not {kind_of(value)}.")
    found = []
    for position, item in enumerate(value):
        where = f"{path}{field}[{position}]"
        if not isinstance(item, dict):
            bad(where, f"must be an object, not {kind_of(item)}.")
        found.append((where + ".", item))
    return found


def required_object(body: Mapping[str, Json], field: str, path: str = "") -> dict[str, Json]:
    value = optional_object(body, field, path)
    if value is None:
        bad(path + field, "is required.")
    return value


def optional_object(body: Mapping[str, Json], field: str, path: str = "") -> dict[str, Json] | None:
    value = body.get(field)
    if value is not None and not isinstance(value, dict):
        bad(path + field, f"must be an object, not {kind_of(value)}.")
    return value


def texts(body: Mapping[str, Json], field: str, path: str = "") -> tuple[str, ...]:
    """A string or a list of strings; () when absent."""
    value = body.get(field)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        bad(path + field, "must be a string or a list of strings.")
    return tuple(value)


def json_text(value: Json, param: str) -> str:
    """JSON text of a value; orjson reads deeper nesting than it writes."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        bad(param, "is nested too deep.")
