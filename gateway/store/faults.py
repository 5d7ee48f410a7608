"""Which exceptions mean that a store is locked, full or gone: no fault of the one who asks."""

from __future__ import annotations

import sqlite3
import sys

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

STORE = (
    sqlite3.OperationalError,
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    ConnectionRefusedError,
)


def unreachable() -> tuple[type[Exception], ...]:
    """What a Redis that cannot be asked raises. Its library is loaded only where one is named."""
    if "redis" not in sys.modules:
        return (OSError,)
    from redis.exceptions import RedisError

    return RedisError, OSError


def redis_lost() -> tuple[type[Exception], ...]:
    """What a connection that broke raises."""
    from redis.exceptions import ConnectionError

    return (ConnectionError,)


def is_of_the_store(fault: Exception) -> bool:
    if isinstance(fault, STORE) or type(fault).__module__ == "redis.exceptions":
        return True
    if isinstance(fault, DBAPIError):
        return fault.connection_invalidated
    # Its driver need not be installed: class 08 is the connection, 53 a lack of room, 57 a stop.
    state = getattr(fault, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in ("08", "53", "57")
    return type(fault).__module__.startswith("asyncpg") and "Connection" in type(fault).__name__
