"""Errors of an Ollama server, read; and ours, in its words: {"error": "text"}.

`error` must be a string: clients of Ollama fail on an object (PROTOCOLS 5.3).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import orjson

from chat.errors import Broken, Denied, GatewayError, Limit, Rejected, UpstreamError
from chat.request import Json

LONGEST = 500
"""Characters kept of an upstream's message."""

_SECRET = re.compile(
    r"((?i:bearer\s+|(?:api[-_ ]?key|token)[\"']?\s*[=:]\s*[\"']?))[^\s\"',;]{6,}"
    r"|\b(?:sk|gsk|xai|tgp|hf)[-_][\w-]{6,}"
    r"|\bAIza[\w-]{10,}"
    r"|\b[0-9a-f]{32}\.[\w-]{8,}"
)
_CONTEXT = re.compile(
    r"(?:exceed|longer|greater|too (?:long|large)|maximum).{0,80}context"
    r"|context.{0,40}(?:exceed|too)|prompt (?:is )?too long",
    re.IGNORECASE,
)
_LACKS = re.compile(r"does not support|not supported", re.IGNORECASE)
_QUOTA = re.compile(r"insufficient_quota|quota|usage limit|billing|credits?\b", re.IGNORECASE)
_RATE = re.compile(r"too many (?:concurrent )?requests|rate.?limit", re.IGNORECASE)
_DENIED = re.compile(r"unauthori[sz]ed|forbidden|invalid api key", re.IGNORECASE)
_NO_MODEL = re.compile(r"model\b.{0,200}\bnot found|not found.{0,40}pulling", re.IGNORECASE)
_MEMORY = re.compile(r"requires more (?:system )?memory|out of memory", re.IGNORECASE)

_WORDS = {"not_identified": "unauthorized", "model_not_found": "model not found"}
"""What clients of Ollama look for in the text."""


def render_error(error: GatewayError) -> Json:
    word = _WORDS.get(error.kind)
    return {"error": f"{word}: {error.message}" if word else error.message}


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """An answer with a status of 400 or more."""
    message = _tidy(_told(body)) or f"The upstream answered with HTTP {status}."
    return _named(status, message, _retry_after(headers))


def in_band(line: dict[str, Json]) -> UpstreamError:
    """A line {"error": ...} in a stream that began well."""
    message = _tidy(_message(line.get("error"))) or "The upstream reported an error."
    status = line.get("status_code")
    if not isinstance(status, int) or not 400 <= status <= 599:
        status = _status_of(message)
    return _named(status, message, None)


def _status_of(message: str) -> int:
    """The HTTP status that these words would have had."""
    if _NO_MODEL.search(message):
        return 404
    if _RATE.search(message):
        return 429
    if _DENIED.search(message):
        return 401
    return 500


def _named(status: int, message: str, retry_after: float | None) -> UpstreamError:
    # Some versions answer a prompt that is too long with 500.
    if status not in (401, 403, 429) and _CONTEXT.search(message):
        return Rejected(
            message, upstream_status=status, fallback=True, code="context_length_exceeded"
        )
    if status == 429:
        if _QUOTA.search(message):
            return Denied(
                message, upstream_status=status, code="insufficient_quota", retry_after=retry_after
            )
        return Limit(message, upstream_status=status, retry_after=retry_after)
    if status in (401, 402, 403):
        return Denied(message, upstream_status=status, retry_after=retry_after)
    if status == 404:
        code = "model_not_found" if "model" in message.lower() else None
        return Rejected(message, upstream_status=status, fallback=True, code=code)
    if status >= 500 or status == 408:
        return Broken(
            message,
            upstream_status=status,
            retryable=not _MEMORY.search(message),
            retry_after=retry_after,
        )
    # Another model may well have what this one lacks: tools, images, thinking.
    lacks = _LACKS.search(message) is not None
    return Rejected(
        message, upstream_status=status, fallback=lacks, code="unsupported" if lacks else None
    )


def _told(body: bytes) -> str:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
    if isinstance(answer, dict):
        return _message(answer.get("error") or answer.get("message"))
    return answer if isinstance(answer, str) else ""


def _message(error: Json) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        for field in ("message", "error"):
            if isinstance(error.get(field), str):
                return str(error[field])
    return ""


def _tidy(message: str) -> str:
    return _SECRET.sub(r"\1***", message.strip())[:LONGEST]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from retry-after-ms, or retry-after as seconds or as a date."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or value is None:
        return seconds
    then = _moment(value)
    if then is None:
        return None
    # Against the upstream's own clock, where it tells it: ours may differ.
    now = _moment(headers.get("date", ""))
    return max(0.0, then - (time.time() if now is None else now))


def _seconds(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _moment(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
