"""What Google's errors mean, as an HTTP answer and inside a stream.

Shape: {"error": {"code", "message", "status", "details": [...]}}, at times as the one element of
an array (PROTOCOLS 4.3). A refused key is a 400 here, a delay stands in RetryInfo and not in a
header, and a daily quota looks like any other 429 but for the name of its quota.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime

import orjson

from chat.errors import Broken, Denied, Limit, Rejected, UpstreamError
from chat.request import Json

MAX_MESSAGE = 500
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

_KEYS = re.compile(r"\b(?:sk-|gsk_|AIza|AQ\.|ya29\.)[\w\-.]{6,}|(?<=key=)[\w\-.]+|(?<=Bearer )\S+")
_TOO_LONG = re.compile(r"token count.*exceeds the maximum|exceeds the maximum number of tokens")
_KEY_REASONS = ("API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED")
_UNABLE = (" is not enabled for ", "thought_signature", "is not supported by this model")
"""Other models may well serve what this one cannot."""
_BARRED = ("location is not supported", "enable billing", "API key not valid", "API key expired")


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """An HTTP answer of 400 or more. `headers` has lower-case names."""
    try:
        value = orjson.loads(body)
    except ValueError:
        text = body.decode("utf-8", "replace").strip()
        error: Json = "" if text.startswith("<") else text
    else:
        error = error_in(value)
        if error is None:
            error = value
    return _classified(status, error, _told_delay(headers))


def error_in(value: Json) -> Json:
    """The `error` of a body or frame, also as the one element of an array; None without one."""
    if isinstance(value, list):
        value = value[0] if value else None
    return value.get("error") if isinstance(value, dict) else None


def error_in_band(error: Json) -> UpstreamError:
    """An error that came under a status of 200."""
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, int) or not 400 <= code < 600:
        name = error.get("status") if isinstance(error, dict) else None
        code = HTTP_OF.get(name, 500) if isinstance(name, str) else 500
    return _classified(code, error, None)


def masked(message: str) -> str:
    """Without keys, and at most MAX_MESSAGE characters."""
    message = _KEYS.sub("[key]", message)
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def _classified(status: int, error: Json, retry_after: float | None) -> UpstreamError:
    fields = error if isinstance(error, dict) else {}
    told = fields.get("message") if fields else error
    message = masked(told) if isinstance(told, str) and told else f"The upstream answered {status}."
    details = list(_details(fields))
    if retry_after is None:
        retry_after = _info_delay(details)
    if status == 429:
        return _limited(message, details, retry_after)
    if status in (401, 402, 403) or (status == 400 and _barred(message, details)):
        return Denied(message, upstream_status=status, retry_after=retry_after)
    if status in (408, 499) or status >= 500:
        return Broken(message, upstream_status=status, retry_after=retry_after)
    if status == 404:
        code = "model_not_found"
        return Rejected(message, upstream_status=404, fallback=True, code=code)
    if _TOO_LONG.search(message):
        code = "context_length_exceeded"
        return Rejected(message, upstream_status=status, fallback=True, code=code)
    unable = fields.get("status") == "FAILED_PRECONDITION" or any(w in message for w in _UNABLE)
    other = status not in (400, 409, 413, 422)
    return Rejected(message, upstream_status=status, fallback=unable or other)


def _limited(
    message: str, details: list[dict[str, Json]], retry_after: float | None
) -> UpstreamError:
    quotas = [
        violation
        for detail in details
        for violation in _objects(detail.get("violations"))
        if "quotaId" in violation
    ]
    if quotas and all(str(quota.get("quotaValue")) == "0" for quota in quotas):
        return Denied(message, upstream_status=429, code="insufficient_quota")
    if any("PerDay" in str(quota["quotaId"]) for quota in quotas):
        rest = max(retry_after or 0.0, DAY_QUOTA_REST)
        return Limit(message, upstream_status=429, retry_after=rest, code="insufficient_quota")
    return Limit(message, upstream_status=429, retry_after=retry_after)


def _barred(message: str, details: list[dict[str, Json]]) -> bool:
    if any(detail.get("reason") in _KEY_REASONS for detail in details):
        return True
    return any(words in message for words in _BARRED)


def _details(fields: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    return _objects(fields.get("details"))


def _objects(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _told_delay(headers: Mapping[str, str]) -> float | None:
    """Seconds from retry-after-ms or retry-after; a date counts from the answer's own date."""
    delay = _seconds(headers.get("retry-after-ms"))
    if delay is not None:
        return delay / 1000
    told = headers.get("retry-after")
    delay = _seconds(told)
    if delay is not None or told is None:
        return delay
    try:
        until = parsedate_to_datetime(told)
        since = parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - since).total_seconds())
    except (ValueError, TypeError):
        return None


def _info_delay(details: list[dict[str, Json]]) -> float | None:
    """RetryInfo's retryDelay: "7s", "0.5s" or {"seconds", "nanos"}."""
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str):
            return _seconds(delay.removesuffix("s"))
        if isinstance(delay, dict):
            whole, nanos = _seconds(delay.get("seconds", 0)), _seconds(delay.get("nanos", 0))
            return None if whole is None or nanos is None else whole + nanos / 1e9
    return None


def _seconds(value: Json) -> float | None:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
