"""What is asked of SQLite is done to its end, though who asked has left.

A caller who hangs up cancels the handler that reads for him. In the midst of a statement that would
cost the connection: SQLAlchemy throws it away, the statement goes on in its thread, and what it has
locked stays locked until it is collected. In memory the tables would go with it. So the statement
ends first, which takes a moment, and then he is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.store.core import AsyncConnection

T = TypeVar("T")


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Its result. Raises CancelledError behind it where that came meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        if not task.cancelled():
            # Retrieved, or asyncio complains of it.
            task.exception()
        raise asyncio.CancelledError
    return task.result()


class WholeConnection(AsyncConnection):
    """Starts, executes and ends whole."""

    __slots__ = ()

    async def start(self, is_ctxmanager: bool = False) -> WholeConnection:
        try:
            await whole(super().start(is_ctxmanager))
        except asyncio.CancelledError:
            # Nobody holds what was just begun.
            await self.close()
            raise
        return self

    async def execute(self, *given: Any, **named: Any) -> Any:
        return await whole(super().execute(*given, **named))

    async def run_sync(self, *given: Any, **named: Any) -> Any:
        return await whole(super().run_sync(*given, **named))

    async def execution_options(self, **options: Any) -> AsyncConnection:
        return await whole(super().execution_options(**options))

    async def close(self) -> None:
        await whole(super().close())

    async def commit(self) -> None:
        await whole(super().commit())

    async def rollback(self) -> None:
        await whole(super().rollback())
