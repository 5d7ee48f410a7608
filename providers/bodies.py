"""What is read of an upstream's answer: never more than is fine, and never for too long."""

from __future__ import annotations

import asyncio
import time

import orjson

from chat.errors import Broken
from chat.request import Json
from providers import http1

MAX_BODY = 64 * 2**20
"""Bytes of a one-shot answer; more is a fault."""
DRAIN_S = 0.1


async def drained(answer: http1.Answer) -> None:
    """Waits a moment for the end of the body behind the terminator, so that the connection can
    be used again. What comes there is not read."""
    # What comes now is nobody's.
    answer.lead(None)
    if answer.ended:
        return
    try:
        async with asyncio.timeout(DRAIN_S):
            await answer.read()
    except (TimeoutError, http1.Fault):
        return


def is_json(answer: http1.Answer) -> bool:
    """A whole JSON body although a stream was asked."""
    return answer.content_type() == b"application/json"


async def bounded(answer: http1.Answer, limit: int, seconds: float, *, cut: bool = False) -> bytes:
    """The body, at most `limit` bytes (longer ones are cut, or raised as Broken), and not in
    drops: what takes longer than `seconds` is raised as Fault("idle")."""
    ends = time.monotonic() + seconds
    parts: list[bytes] = []
    size = 0
    while chunk := await answer.read():
        size += len(chunk)
        parts.append(chunk)
        if size > limit:
            if cut:
                return b"".join(parts)[:limit]
            raise Broken(f"The upstream sent an answer of more than {limit} bytes.")
        if time.monotonic() > ends:
            raise http1.Fault("idle")
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def json_body(answer: http1.Answer, seconds: float) -> Json:
    return parsed(await bounded(answer, MAX_BODY, seconds))


def parsed(body: bytes) -> Json:
    """Raises Broken for what is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        what = "an empty body" if not body.strip() else "what is not JSON"
        raise Broken(f"The upstream answered with {what}.", code="malformed") from None
