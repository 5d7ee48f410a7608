"""<think> ... </think> at the head of the content -> reasoning, wherever the tags were cut."""

from __future__ import annotations

from chat.events import ReasoningDelta, TextDelta

_OPEN = "<think>"
_SHUT = "</think>"


class ThinkTags:
    """Only the very first thing said can be a thought. Not a character is lost or held longer
    than the tag it may belong to."""

    def __init__(self) -> None:
        self._held = ""
        self._state = "before"

    def feed(self, text: str) -> list[TextDelta | ReasoningDelta]:
        if self._state == "after":
            return [TextDelta(text)]
        text = self._held + text
        self._held = ""
        if self._state == "before":
            return self._before(text)
        return self._inside(text)

    def close(self) -> list[TextDelta | ReasoningDelta]:
        """What looked like the beginning of a tag and was none."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [ReasoningDelta(held) if self._state == "inside" else TextDelta(held)]

    def _before(self, text: str) -> list[TextDelta | ReasoningDelta]:
        begun = text.lstrip()
        if begun.startswith(_OPEN):
            self._state = "inside"
            return self._inside(begun[len(_OPEN) :])
        if _OPEN.startswith(begun):
            self._held = text
            return []
        self._state = "after"
        return [TextDelta(text)]

    def _inside(self, text: str) -> list[TextDelta | ReasoningDelta]:
        thought, shut, rest = text.partition(_SHUT)
        if shut:
            self._state = "after"
        else:
            keep = _overlap(thought)
            self._held = thought[len(thought) - keep :]
            thought = thought[: len(thought) - keep]
        events: list[TextDelta | ReasoningDelta] = []
        if thought:
            events.append(ReasoningDelta(thought))
        if rest:
            events.append(TextDelta(rest))
        return events


def _overlap(text: str) -> int:
    """How much of the end of `text` may begin the closing tag."""
    for size in range(min(len(_SHUT) - 1, len(text)), 0, -1):
        if _SHUT.startswith(text[-size:]):
            return size
    return 0
