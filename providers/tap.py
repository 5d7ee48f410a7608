"""A short way for what an upstream says next: past whoever waits for it, at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


def _never() -> bool:
    return False


class Tap(Generic[T]):
    """`take` has what would have been yielded, in the turn of the loop in which it came, and may
    raise what the reader would have raised. It is called only while `ready` says so and the reader
    waits for more; `ready` says no until the tap is opened."""

    __slots__ = ("_ready", "ready", "take")

    def __init__(self, take: Callable[[T], None], ready: Callable[[], bool]) -> None:
        self.take = take
        self._ready = ready
        self.ready: Callable[[], bool] = _never

    def open(self) -> None:
        self.ready = self._ready
