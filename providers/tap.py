"""A short way for what an upstream says next: past whoever waits for it, at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


def _not_yet() -> bool:
    return False


class Tap(Generic[T]):
    """`take` has what would have been yielded, in the turn of the loop in which it came, and may
    raise what the reader would have raised. It is called only while `ready` says so and the reader
    waits for more; `ready` says no until its owner puts another in its place."""

    __slots__ = ("ready", "take")

    def __init__(self, take: Callable[[T], None]) -> None:
        self.take = take
        self.ready: Callable[[], bool] = _not_yet
