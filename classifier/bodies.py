"""What callers may send, and what is said to them when they send something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

MOST_MESSAGES = 256
SINGLE = frozenset({"message"})
EITHER = frozenset({"message", "messages"})


class BadRequest(ValueError):
    """A body that we cannot answer; `param` names the field, if one is to blame."""

    def __init__(self, message: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.status = status

    def body(self) -> bytes:
        """The error as callers see it."""
        return error_body(str(self), self.param)


@dataclass(frozen=True, slots=True)
class Asked:
    """The prompts of one request; `batch` if they came as a list."""

    messages: list[str]
    batch: bool


def error_body(
    message: str, param: str | None = None, kind: str = "invalid_request_error"
) -> bytes:
    """`{"error": {"message", "type", "param"}}` as bytes."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param}})


def parse(raw: bytes, allowed: frozenset[str]) -> Asked:
    """Read a body, whatever its content type says; BadRequest names what does not fit."""
    try:
        body: Any = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON in UTF-8: {error}.") from None
    if type(body) is not dict:
        raise BadRequest("The body must be a JSON object.")
    message = body.get("message")
    if len(body) == 1 and type(message) is str and not message.isspace() and message:
        return Asked([message], batch=False)
    return _careful(body, allowed)


def _careful(body: dict[str, Any], allowed: frozenset[str]) -> Asked:
    for name in body:
        if name not in allowed:
            known = ", ".join(sorted(allowed))
            raise BadRequest(f"Unknown field {name[:80]!r}; known: {known}.", name[:80])
    if len(body) > 1:
        raise BadRequest("Give either 'message' or 'messages', not both.", "messages")
    if "messages" not in body:
        _text(body.get("message"), "message", given="message" in body)
    messages = body["messages"]
    if type(messages) is not list:
        raise BadRequest("'messages' must be a list of strings.", "messages")
    if not messages:
        raise BadRequest("'messages' must not be empty.", "messages")
    if len(messages) > MOST_MESSAGES:
        raise BadRequest(
            f"'messages' has {len(messages)} entries; {MOST_MESSAGES} is the most.", "messages"
        )
    for i, message in enumerate(messages):
        _text(message, f"messages[{i}]", given=True)
    return Asked(messages, batch=True)


def _text(value: object, name: str, *, given: bool) -> None:
    if not given:
        raise BadRequest(f"'{name}' is missing.", name)
    if type(value) is not str:
        raise BadRequest(f"'{name}' must be a string.", name)
    if not value.strip():
        raise BadRequest(f"'{name}' must not be empty.", name)


def wants_explanation(query: Mapping[str, str]) -> bool:
    """Whether `?explain=true` was asked for; BadRequest for another value."""
    return _flag(query, "explain")


def wants_models(query: Mapping[str, str]) -> bool:
    """Whether `?models=true` was asked for; BadRequest for another value."""
    return _flag(query, "models")


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise BadRequest(f"'{name}' must be true or false.", name)
    return value in ("true", "1")
