"""Closes connections whose first request never gets its head together.

aiohttp itself closes one that was answered once and asks nothing more, but waits for a first head
for ever: a caller who sends it byte by byte would hold a socket as long as he likes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.tick import tick

LOOK_S = 1.0


async def watch(runner: web.AppRunner, limit_s: Callable[[], float]) -> None:
    """Looks at all connections until it is cancelled; `limit_s` is asked at each look."""
    since: dict[RequestHandler, float] = {}
    while True:
        await tick(LOOK_S)
        if runner.server is None:
            continue
        now, limit = time.monotonic(), limit_s()
        waiting = [one for one in runner.server.connections if _never_asked(one)]
        since = {one: since.get(one, now) for one in waiting}
        for one, began in since.items():
            if now - began >= limit:
                one.force_close()


def _never_asked(connection: RequestHandler) -> bool:
    # No public word for it.
    return connection._current_request is None and not connection._request_count
