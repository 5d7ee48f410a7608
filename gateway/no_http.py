"""What is no HTTP, and what is said of it.

aiohttp shows the bytes that it could not read, to the caller and in the log as an error with its
traceback: a header with a key in it, a part of a question. Here it is told as any other fault is,
and nothing of it is repeated.
"""

from __future__ import annotations

import logging
import re

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from chat.errors import BadRequest

SHOWN = re.compile(r":|\n| b?['\"]")
"""Where a sentence of the parser's begins to show what it was given."""

log = logging.getLogger("pointsman.http")


class BrokenBody(web.RequestPayloadError):
    """What comes as a body is none. Says why, without a byte of it."""


def why(fault: BaseException) -> str:
    """A sentence with nothing in it of what came."""
    if isinstance(fault, ContentEncodingError):
        return "The body's Content-Encoding is not one of gzip and deflate."
    said = fault.message if isinstance(fault, HttpProcessingError) else ""
    words = SHOWN.split(said, maxsplit=1)[0].strip()
    return f"The request is no HTTP: {words or 'it cannot be read'}."


def refused(request: web.BaseRequest, fault: BaseException) -> BadRequest:
    """The failure that its sender is told, and a line of the log."""
    sentence = why(fault)
    log.info("no HTTP", extra={"fields": {"remote": request.remote, "why": sentence}})
    if isinstance(fault, ContentEncodingError):
        return BadRequest(sentence, param="Content-Encoding")
    return BadRequest(sentence, code="invalid_http")
