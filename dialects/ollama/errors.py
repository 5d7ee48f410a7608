"""Errors of an Ollama server, read; and ours, in its words: {"error": "text"}.

`error` must be a string: clients of Ollama fail on an object (PROTOCOLS 5.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chat.errors import Broken, GatewayError, Rejected, UpstreamError
from chat.request import Json
from dialects.retry_after import retry_after
from dialects.upstream_errors import no_money, of_status
from dialects.upstream_words import message_of, said_in, words_in

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

_SPOKEN_FOR = (401, 402, 403, 404, 408, 429)
"""Statuses that mean the same whatever the words are."""

_WORDS = {"not_identified": "unauthorized", "model_not_found": "model not found"}
"""What clients of Ollama look for in the text."""


def render_error(error: GatewayError) -> Json:
    word = _WORDS.get(error.kind)
    return {"error": f"{word}: {error.message}" if word else error.message}


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """An answer with a status of 400 or more."""
    message = message_of(words_in(said_in(body)), status)
    return _named(status, message, retry_after(headers))


def in_band(line: dict[str, Json]) -> UpstreamError:
    """A line {"error": ...} in a stream that began well."""
    message = message_of(words_in(line), None)
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


def _named(status: int, message: str, wait: float | None) -> UpstreamError:
    code = None
    # Some versions answer a prompt that is too long with 500.
    if status not in (401, 403, 429) and _CONTEXT.search(message):
        code = "context_length_exceeded"
    elif status == 404 and "model" in message.lower():
        code = "model_not_found"
    elif 400 <= status < 500 and status not in _SPOKEN_FOR and _LACKS.search(message):
        # Another model may well have what this one lacks: tools, images, thinking.
        code = "unsupported"
    if code is not None:
        return Rejected(message, upstream_status=status, fallback=True, code=code)
    if status == 429 and _QUOTA.search(message):
        return no_money(message, upstream_status=status, retry_after=wait)
    if status >= 500 and _MEMORY.search(message):
        return Broken(message, upstream_status=status, retryable=False, retry_after=wait)
    return of_status(status, message, upstream_status=status, retry_after=wait)
