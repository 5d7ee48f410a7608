"""The one Redis, where the settings name one: limits, rests, queue, cache and live feed of all
processes meet there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store.database import StoreError

if TYPE_CHECKING:
    from redis.asyncio import Redis

CONNECT_S = 2.0
ANSWER_S = 2.0


def connect(url: str) -> Redis | None:
    """None without a URL. Nothing is sent yet. Raises StoreError."""
    if not url:
        return None
    # Here, as who has none need not pay for it: 8 MB and 90 ms of a start.
    from redis.asyncio import Redis

    try:
        return Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=ANSWER_S,
            health_check_interval=30,
        )
    except ValueError:
        raise StoreError("store.redis: must be redis:// or rediss://") from None
