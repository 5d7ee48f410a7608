"""Anthropic's errors: theirs -> ours, ours -> the caller's (PROTOCOLS 3.3 and 6.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from chat.errors import GatewayError, Rejected, UpstreamError
from chat.request import Json
from dialects.retry_after import retry_after, until
from dialects.upstream_errors import no_money, of_status
from dialects.upstream_words import first_object, message_of, said_in, words_in

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
    wait = retry_after(headers)
    if wait is None:
        wait = _until_reset(headers)
    return _error(status, status, said_in(body), wait)


def in_band(said: Json) -> UpstreamError:
    """An error inside of an answer with status 200."""
    return _error(_STATUS_OF_TYPE.get(_type(said), 500), None, said, None)


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
    status: int, upstream_status: int | None, said: Json, wait: float | None
) -> UpstreamError:
    kind, words = _type(said), words_in(said)
    detail = _detail(said)
    text = message_of(f"{words} ({detail})" if words and detail else words, upstream_status)
    if kind == "billing_error" or (status < 500 and _NO_MONEY.search(text)):
        return no_money(text, upstream_status=upstream_status)
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
    if code is not None:
        # These are the upstream's own bounds; another target may have wider ones.
        return Rejected(text, upstream_status=status, fallback=True, code=code)
    code = "overloaded" if status == 529 else None
    return of_status(status, text, upstream_status=upstream_status, code=code, retry_after=wait)


def _type(said: Json) -> str:
    kind = _object(said).get("type")
    return kind if isinstance(kind, str) else ""


def _detail(said: Json) -> str:
    """A word behind the message: enforced_spend_limit_reached."""
    details = _object(said).get("details")
    word = details.get("error_code") if isinstance(details, dict) else None
    return word if isinstance(word, str) else ""


def _object(said: Json) -> Mapping[str, Json]:
    said = first_object(said)
    error = said.get("error") if isinstance(said, dict) else None
    return error if isinstance(error, dict) else {}


def _until_reset(headers: Mapping[str, str]) -> float | None:
    """The longest wait of the limits that are used up."""
    waits = []
    for what in ("requests", "tokens", "input-tokens", "output-tokens"):
        limit = f"anthropic-ratelimit-{what}"
        if headers.get(f"{limit}-remaining") != "0":
            continue
        try:
            reset = datetime.fromisoformat(headers.get(f"{limit}-reset", ""))
        except ValueError:
            continue
        wait = until(reset, headers)
        if wait is not None:
            waits.append(wait)
    return max(waits, default=None)
