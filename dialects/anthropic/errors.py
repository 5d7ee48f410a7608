"""Anthropic's errors: theirs -> ours, ours -> the caller's (PROTOCOLS 3.3 and 6.7)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import orjson

from chat.errors import Broken, Denied, GatewayError, Limit, Rejected, UpstreamError
from chat.request import Json

MOST_OF_A_MESSAGE: Final = 500

_STATUS_OF_TYPE: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_TYPE_OF_STATUS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_KEY: Final = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|tgp)[-_][\w*.-]{4,}"
    r"|\bAIza[\w-]{8,}"
    r"|\b(?i:bearer)\s+[\w.~+/=-]{4,}"
)
_TITLE: Final = re.compile(r"<title[^>]*>([^<]+)</title", re.IGNORECASE)
_TOO_LONG: Final = re.compile(
    r"prompt is too long|context (?:window|length|limit)|maximum context|too many (?:input )?tokens"
    r"|input length and `?max_tokens`? exceed",
    re.IGNORECASE,
)
_NO_MONEY: Final = re.compile(
    r"credit balance|spend(?:ing)? limit|usage limits?\b|enforced_spend_limit_reached",
    re.IGNORECASE,
)
_FOREIGN_THOUGHT: Final = re.compile(r"signature.{0,40}thinking|thinking.{0,40}signature")
_TOO_LONG_WORDS: Final = "prompt is too long"


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """An HTTP status of 400 or more. `headers` has lower-case names."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
        message = _of_no_json(body)
    else:
        message = _message(said)
    return _error(status, status, _type(said), message, _seconds(headers))


def in_band(said: Json) -> UpstreamError:
    """An error inside of an answer with status 200."""
    kind = _type(said)
    message = _message(said)
    return _error(_STATUS_OF_TYPE.get(kind, 500), None, kind, message, None)


def render_error(error: GatewayError) -> Json:
    """The body of an error, which is also the data of an `error` event."""
    message = error.message
    if error.code == "context_length_exceeded" and _TOO_LONG_WORDS not in message.lower():
        # Claude Code compacts its history when it reads these words.
        message = f"{_TOO_LONG_WORDS}: {message}"
    return {"type": "error", "error": {"type": _wire_type(error), "message": message}}


def _wire_type(error: GatewayError) -> str:
    if error.kind == "quota":
        return "billing_error"
    if error.code == "overloaded":
        return "overloaded_error"
    return _TYPE_OF_STATUS.get(error.status, "api_error")


def _error(
    status: int,
    upstream_status: int | None,
    kind: str,
    message: str,
    retry_after: float | None,
) -> UpstreamError:
    text = message or f"The upstream answered HTTP {status}."
    if status == 402 or kind == "billing_error" or (status < 500 and _NO_MONEY.search(text)):
        return Denied(text, upstream_status=upstream_status, code="insufficient_quota")
    if status in (401, 403):
        return Denied(text, upstream_status=upstream_status)
    if status == 429:
        return Limit(text, upstream_status=upstream_status, retry_after=retry_after)
    if status >= 500 or status in (408, 425) or status < 400:
        return Broken(
            text,
            upstream_status=upstream_status,
            code="overloaded" if status == 529 else None,
            retry_after=retry_after,
        )
    code = None
    if status == 404:
        code = "model_not_found" if "model" in text.lower() else "not_found"
    elif status == 413:
        code = "request_too_large"
    elif status in (400, 422) and _TOO_LONG.search(text):
        code = "context_length_exceeded"
    elif status == 400 and _FOREIGN_THOUGHT.search(text):
        # Another model's thoughts are in the history: the router's doing, not the caller's.
        code = "foreign_thought"
    # These are the upstream's own bounds; another target may have wider ones.
    return Rejected(text, upstream_status=status, fallback=code is not None, code=code)


def _first(said: Json) -> Json:
    return said[0] if isinstance(said, list) and said else said


def _type(said: Json) -> str:
    said = _first(said)
    error = said.get("error") if isinstance(said, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    return kind if isinstance(kind, str) else ""


def _message(said: Json) -> str:
    """The words of an error, wherever a proxy put them; "" when there are none."""
    said = _first(said)
    if isinstance(said, str):
        return shown(said)
    if not isinstance(said, dict):
        return ""
    error = said.get("error")
    places = [error, said.get("message"), said.get("detail")]
    if isinstance(error, dict):
        details = error.get("details")
        words = details.get("error_code") if isinstance(details, dict) else None
        places = [error.get("message"), words, error.get("type"), *places[1:]]
        if isinstance(words, str) and isinstance(places[0], str):
            places[0] = f"{places[0]} ({words})"
    for place in places:
        if isinstance(place, str) and place.strip():
            return shown(place)
    return ""


def _of_no_json(body: bytes) -> str:
    text = body[:65536].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        return shown(" ".join(title[1].split())) if title else ""
    return shown(" ".join(text.split()))


def shown(message: str) -> str:
    """What may be shown and logged: no keys, and not too long. Keys first, so that no half of
    one is left at the end."""
    return _KEY.sub("***", message)[:MOST_OF_A_MESSAGE]


def _seconds(headers: Mapping[str, str]) -> float | None:
    """How long to wait. A date is taken from the upstream's own Date, so that no clock is
    asked; without one it says nothing."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    if asked is None:
        return _until_reset(headers)
    seconds = _number(asked)
    if seconds is not None:
        return seconds
    return _between(_date(headers.get("date")), _date(asked))


def _until_reset(headers: Mapping[str, str]) -> float | None:
    """The longest wait of the limits that are used up."""
    now = _date(headers.get("date"))
    waits = []
    for what in ("requests", "tokens", "input-tokens", "output-tokens"):
        limit = f"anthropic-ratelimit-{what}"
        if headers.get(f"{limit}-remaining") != "0":
            continue
        try:
            reset = datetime.fromisoformat(headers.get(f"{limit}-reset", ""))
        except ValueError:
            continue
        wait = _between(now, reset)
        if wait is not None:
            waits.append(wait)
    return max(waits, default=None)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None


def _between(start: datetime | None, end: datetime | None) -> float | None:
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    return max(0.0, (end - start).total_seconds())
