"""What a caller was told so far of one answer, so that another target can go on with it."""

from __future__ import annotations

from chat.events import (
    UNCOUNTED,
    Batch,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)


class Story:
    """What a caller was told so far of one answer."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._open = True
        self.usage = UNCOUNTED
        """Of the attempts before the one that runs."""

    def add(self, batch: Batch) -> None:
        for event in batch:
            if type(event) is TextDelta:
                self._pieces.append(event.text)
            elif isinstance(event, ToolCallDelta | ReasoningDelta | RefusalDelta | Finish):
                self._open = False

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def can_go_on(self) -> bool:
        """Nothing but text came."""
        return self._open


def added(one: Usage, other: Usage) -> Usage:
    """Both; what neither counted stays unknown."""

    def both(left: int | None, right: int | None) -> int | None:
        return right if left is None else left + (right or 0)

    return Usage(
        both(one.input_tokens, other.input_tokens),
        both(one.output_tokens, other.output_tokens),
        both(one.cached_tokens, other.cached_tokens),
        both(one.cache_write_tokens, other.cache_write_tokens),
        both(one.reasoning_tokens, other.reasoning_tokens),
    )
