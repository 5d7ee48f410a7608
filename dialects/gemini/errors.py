"""What Google's errors mean, as an HTTP answer and inside a stream.

Shape: {"error": {"code", "message", "status", "details": [...]}}, at times as the one element of
an array (PROTOCOLS 4.3). A refused key is a 400 here, a delay stands in RetryInfo and not in a
header, and a daily quota looks like any other 429 but for the name of its quota.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from chat.errors import Denied, Limit, Rejected, UpstreamError
from chat.request import Json
from dialects.retry_after import retry_after, retry_info
from dialects.upstream_errors import no_money, of_status
from dialects.upstream_words import first_object, message_of, said_in, words_in

DAY_QUOTA_REST = 3600.0
"""Seconds to leave a target whose quota of the day is used up; the RetryInfo that Google sends
with it is that of the minute."""

HTTP_OF = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""google.rpc.Code -> HTTP: https://cloud.google.com/apis/design/errors."""

_TOO_LONG = re.compile(r"token count.*exceeds the maximum|exceeds the maximum number of tokens")
_KEY_REASONS = ("API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED")
_UNABLE = (" is not enabled for ", "thought_signature", "is not supported by this model")
"""Other models may well serve what this one cannot."""
_BARRED = ("location is not supported", "enable billing", "API key not valid", "API key expired")


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """An HTTP answer of 400 or more. `headers` has lower-case names."""
    said = said_in(body)
    message = message_of(words_in(said), status)
    return _classified(status, message, error_in(said), retry_after(headers))


def error_in(value: Json) -> Json:
    """The `error` of a body or frame, also as the one element of an array; None without one."""
    value = first_object(value)
    return value.get("error") if isinstance(value, dict) else None


def error_in_band(error: Json) -> UpstreamError:
    """An error that came under a status of 200."""
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, int) or not 400 <= code < 600:
        name = error.get("status") if isinstance(error, dict) else None
        code = HTTP_OF.get(name, 500) if isinstance(name, str) else 500
    return _classified(code, message_of(words_in({"error": error}), None), error, None)


def _classified(status: int, message: str, error: Json, wait: float | None) -> UpstreamError:
    fields = error if isinstance(error, dict) else {}
    details = list(_objects(fields.get("details")))
    if wait is None:
        wait = retry_info(details)
    if status == 429:
        return _limited(message, details, wait)
    if status == 400 and _barred(message, details):
        return Denied(message, upstream_status=400, retry_after=wait)
    code = None
    if status == 404:
        code = "model_not_found"
    elif status < 500 and _TOO_LONG.search(message):
        code = "context_length_exceeded"
    unable = fields.get("status") == "FAILED_PRECONDITION" or any(w in message for w in _UNABLE)
    if code is not None or (status == 400 and unable):
        return Rejected(message, upstream_status=status, fallback=True, code=code)
    return of_status(status, message, upstream_status=status, retry_after=wait)


def _limited(message: str, details: list[dict[str, Json]], wait: float | None) -> UpstreamError:
    quotas = [
        violation
        for detail in details
        for violation in _objects(detail.get("violations"))
        if "quotaId" in violation
    ]
    if quotas and all(str(quota.get("quotaValue")) == "0" for quota in quotas):
        return no_money(message, upstream_status=429)
    if any("PerDay" in str(quota["quotaId"]) for quota in quotas):
        rest = max(wait or 0.0, DAY_QUOTA_REST)
        return Limit(message, upstream_status=429, retry_after=rest, code="insufficient_quota")
    return Limit(message, upstream_status=429, retry_after=wait)


def _barred(message: str, details: list[dict[str, Json]]) -> bool:
    if any(detail.get("reason") in _KEY_REASONS for detail in details):
        return True
    return any(words in message for words in _BARRED)


def _objects(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))
