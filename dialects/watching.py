"""Watching the frames of a relayed stream: a failure does not swallow what came before it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from chat.errors import UpstreamError
from chat.events import UNCOUNTED, Finish, StreamEvent, Usage
from dialects.framing import Frame


def usage_among(events: Sequence[StreamEvent]) -> tuple[Usage, bool]:
    """Of a whole answer's events, and whether one of them is its finish."""
    usage, finished = UNCOUNTED, False
    for event in events:
        if type(event) is Usage:
            usage = usage.merged(event)
        elif type(event) is Finish:
            finished = True
    return usage, finished


class FrameWatch(ABC):
    """A Watch. A failure behind frames that may pass waits for the next call."""

    def __init__(self) -> None:
        self.usage = UNCOUNTED
        self._failure: UpstreamError | None = None

    def feed(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        if self._failure is not None:
            raise self._failure
        passed: list[Frame] = []
        try:
            for frame in frames:
                self._pass(frame, passed)
        except UpstreamError as failure:
            if not passed:
                raise
            self._failure = failure
        return passed

    def close(self) -> Sequence[Frame]:
        if self._failure is not None:
            raise self._failure
        return self._end()

    @abstractmethod
    def _pass(self, frame: Frame, passed: list[Frame]) -> None:
        """Adds to `passed` what may pass of one frame. Raises UpstreamError when it carries a
        failure."""

    @abstractmethod
    def _end(self) -> Sequence[Frame]:
        """Raises Broken(code="cut") when no finish passed."""
