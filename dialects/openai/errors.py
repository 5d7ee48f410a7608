"""Errors of OpenAI-compatible hosts -> UpstreamError; our errors -> OpenAI's error object.

Hosts write an error as {"error": {"message", "type", "param", "code"}}, {"error": "text"},
{"detail": ...}, {"object": "error", "message": ...}, a list of one such object, plain text or
HTML. What to do about it follows from its code first and from the HTTP status second
(PROTOCOLS 2.4, 6.7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chat.errors import GatewayError, Limit, Rejected, UpstreamError
from chat.request import Json
from dialects.retry_after import retry_after, retry_info, seconds
from dialects.upstream_errors import no_money, of_status
from dialects.upstream_words import first_object, message_of, said_in, words_in

_QUOTA = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
        "insufficient_credits",
        "spend_limit_exceeded",
        "access_terminated",
    }
)
_CONTEXT = re.compile(
    r"maximum context length|context[ _-]?(?:length|window|size)|prompt is too long"
    r"|too many (?:input )?tokens|reduce the length of|input is too long"
    r"|exceeds? the (?:available|maximum) (?:context|number of tokens)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model\b.{0,200}\b(?:not found|does not exist|not available|not supported|unknown"
    r"|decommissioned|deprecated)|(?:no such|unknown|invalid) model",
    re.IGNORECASE | re.DOTALL,
)
_STATUS_OF_WORD = {
    "invalid_request_error": 400,
    "bad_request": 400,
    "exceed_context_size_error": 400,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "invalid_authentication": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limited": 429,
    "requests": 429,
    "tokens": 429,
    "capacity_exceeded": 429,
    "overloaded_error": 503,
    "service_unavailable": 503,
    "timeout": 504,
    "timeout_error": 504,
}
_SPOKEN_FOR = (401, 402, 403, 408, 425, 429, 499)
"""Statuses that mean the same whatever the words are."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class _Said:
    """What an error object says; codes and types are lower-case words, "" when absent."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    status: int | None = None
    retry_after: float | None = None

    @property
    def words(self) -> tuple[str, str]:
        return self.code, self.type


def http_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """An answer with a status of 400 or more."""
    said = _said(said_in(body))
    return _classify(status, said, upstream_status=status, wait=_wait(headers, said))


def error_in_band(error: Json) -> UpstreamError:
    """An error that came inside an answer of 200: the whole frame's or body's JSON."""
    said = _said(error)
    status = said.status
    if status is None:
        known = (_STATUS_OF_WORD.get(word) for word in said.words)
        status = next((found for found in known if found is not None), 500)
    return _classify(status, said, upstream_status=None, wait=said.retry_after)


def carries_error(body: Mapping[str, Json]) -> bool:
    """Whether an answer of 200 is, or holds, an error object."""
    return bool(body.get("error")) or body.get("object") == "error"


def _classify(
    status: int, said: _Said, *, upstream_status: int | None, wait: float | None
) -> UpstreamError:
    message = message_of(said.message, upstream_status)
    code = said.code or said.type or None
    if _QUOTA.intersection(said.words):
        return no_money(message, upstream_status=upstream_status)
    if status == 498 or "rate_limit_exceeded" in said.words:
        return Limit(message, upstream_status=upstream_status, code=code, retry_after=wait)
    if 400 <= status < 500 and status not in (401, 402, 429) and _is_context(said):
        return Rejected(message, upstream_status=400, fallback=True, code="context_length_exceeded")
    if 400 <= status < 500 and status not in _SPOKEN_FOR and _is_no_model(said):
        return Rejected(
            message,
            upstream_status=status,
            fallback=True,
            param=said.param,
            code="model_not_found",
        )
    return of_status(
        status,
        message,
        upstream_status=upstream_status,
        code=code,
        param=said.param,
        retry_after=wait,
    )


def _is_no_model(said: _Said) -> bool:
    return "model_not_found" in said.words or _NO_MODEL.search(said.message) is not None


def _is_context(said: _Said) -> bool:
    words = said.words
    return (
        "context_length_exceeded" in words
        or "exceed_context_size_error" in words
        or _CONTEXT.search(said.message) is not None
    )


def _said(body: Json) -> _Said:
    words = words_in(body)
    body = first_object(body)
    if not isinstance(body, dict):
        return _Said(message=words)
    error = body.get("error")
    if not isinstance(error, dict):
        error = body
    return _Said(
        message=words,
        code=_word(error.get("code")),
        type=_word(error.get("type")),
        param=error["param"] if isinstance(error.get("param"), str) else None,
        status=_status(error) or _status(body),
        retry_after=retry_info(error.get("details")),
    )


def _word(value: Json) -> str:
    return value.lower() if isinstance(value, str) and not value.isdigit() else ""


def _status(error: Mapping[str, Json]) -> int | None:
    for field in ("status", "status_code", "code"):
        value = error.get(field)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return value
    return None


def _wait(headers: Mapping[str, str], said: _Said) -> float | None:
    """What the headers tell, the body's word, the reset of the limits that are used up."""
    wait = retry_after(headers)
    if wait is not None:
        return wait
    if said.retry_after is not None:
        return said.retry_after
    resets = [
        _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((reset for reset in resets if reset is not None), default=None)


def _duration(text: str) -> float | None:
    """Go's way to write a time: 12ms, 1s, 6m0s."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return seconds(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


_WORDS: dict[str, tuple[str, str | None]] = {
    "bad_request": ("invalid_request_error", None),
    "too_large": ("invalid_request_error", None),
    "not_identified": ("invalid_request_error", "invalid_api_key"),
    "not_allowed": ("permission_error", None),
    "not_found": ("invalid_request_error", "not_found"),
    "model_not_found": ("invalid_request_error", "model_not_found"),
    "method_not_allowed": ("invalid_request_error", "method_not_allowed"),
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "quota": ("insufficient_quota", "insufficient_quota"),
    "overloaded": ("server_error", "overloaded"),
    "timeout": ("server_error", "timeout"),
    "upstream_error": ("server_error", "upstream_error"),
    "upstream_refused": ("server_error", "upstream_refused"),
    "upstream_auth": ("server_error", "upstream_auth"),
    "internal_error": ("server_error", "internal_error"),
}
# What an upstream calls these would tell the caller that *his* key or *his* credit is at fault.
_OURS = frozenset({"upstream_auth", "rate_limited"})


def render_error(error: GatewayError) -> Json:
    """OpenAI's error object (PROTOCOLS 6.7)."""
    kind, code = _WORDS.get(error.kind, _WORDS["internal_error"])
    if error.code is not None and error.kind not in _OURS:
        code = error.code
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": error.param,
            "code": code,
        }
    }
