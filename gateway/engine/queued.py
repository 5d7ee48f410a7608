"""A caller who waits for his turn is told of it, in whatever his language has for that."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from dialects.base import Renderer


@runtime_checkable
class TellsQueue(Protocol):
    """A renderer of a language that has an event for it."""

    def queued(self, position: int, wait_s: float) -> bytes: ...


def notice(renderer: Renderer, position: int, wait_s: float) -> bytes:
    """An event where there is one, a comment where comments pass, else the keep-alive."""
    if isinstance(renderer, TellsQueue):
        return renderer.queued(position, wait_s)
    if renderer.keepalive.startswith(b":"):
        return f": queued, {ordinal(position)}, about {max(1, round(wait_s))} s\n".encode()
    return renderer.keepalive


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
