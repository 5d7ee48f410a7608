"""What came of a target's attempts lately: a rolling window in parts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from chat.errors import UpstreamError

PARTS = 10
"""Parts of the rolling window. Each has a number, which grows with the time."""


class Tally(Protocol):
    """`part` is the number of the part that is now."""

    def fail(self, part: int) -> bool:
        """Whether others who count the same have to be told that there is something to count."""
        ...

    def answer(self, part: int) -> None: ...

    def add(self, part: int, failures: int, answers: int) -> None:
        """What another process counted."""
        ...

    def counted(self, part: int) -> tuple[int, int]:
        """Failures in the window, and answers."""
        ...

    def clear(self, *, own: bool) -> None:
        """`own`: found out here, and not told by another process."""
        ...


@dataclass(frozen=True, slots=True)
class Counted:
    """What one process counted of a target since it last said so."""

    target: str
    failures: int
    answers: int
    error: UpstreamError | None = None
    """The last failure."""


@dataclass(slots=True)
class _Part:
    number: int
    failures: int = 0
    answers: int = 0


class OwnTally:
    """In this process's memory."""

    def __init__(self) -> None:
        self._parts: deque[_Part] = deque(maxlen=PARTS)

    def fail(self, part: int) -> bool:
        self._of(part).failures += 1
        return True

    def answer(self, part: int) -> None:
        self._of(part).answers += 1

    def add(self, part: int, failures: int, answers: int) -> None:
        found = self._of(part)
        found.failures += failures
        found.answers += answers

    def counted(self, part: int) -> tuple[int, int]:
        parts = [one for one in self._parts if one.number > part - PARTS]
        return sum(one.failures for one in parts), sum(one.answers for one in parts)

    def clear(self, *, own: bool) -> None:
        self._parts.clear()

    def _of(self, part: int) -> _Part:
        if not self._parts or self._parts[-1].number != part:
            self._parts.append(_Part(part))
        return self._parts[-1]
