"""Events -> one response. The one-shot door and the streaming door share this path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from chat.errors import Broken
from chat.events import (
    UNCOUNTED,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.request import Reasoning, Text, ToolCall


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """One whole answer. `parts` keep the order in which they came."""

    id: str
    model: str
    parts: tuple[Text | Reasoning | ToolCall, ...]
    finish: Finish
    usage: Usage
    refusal: str | None = None

    @property
    def text(self) -> str:
        return "".join([part.text for part in self.parts if type(part) is Text])

    @property
    def reasoning(self) -> str:
        return "".join([part.text for part in self.parts if type(part) is Reasoning])

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


@dataclass(slots=True)
class _Open:
    """The part that is being written."""

    kind: str = ""
    pieces: list[str] = field(default_factory=list)
    signature: str | None = None
    vendor: str | None = None
    id: str = ""
    name: str = ""
    index: int = -1

    def close(self) -> Text | Reasoning | ToolCall | None:
        text = "".join(self.pieces)
        if self.kind == "text":
            return Text(text) if text else None
        if self.kind == "reasoning":
            if not text and not self.signature:
                return None
            return Reasoning(text, self.signature, vendor=self.vendor)
        if self.kind == "call":
            return ToolCall(self.id, self.name, text, self.signature)
        return None


class Folder:
    """Collects events as they come, so that what was seen before a failure is not lost."""

    def __init__(self) -> None:
        self.start = Start()
        self.usage = UNCOUNTED
        self.finish: Finish | None = None
        self._parts: list[Text | Reasoning | ToolCall] = []
        self._refusal: list[str] = []
        self._open = _Open()

    def feed(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            # A comparison of types is the cheapest way to tell them apart.
            if type(event) is TextDelta:
                self._at("text").pieces.append(event.text)
            elif type(event) is Usage:
                self.usage = self.usage.merged(event)
            elif type(event) is Finish:
                self.finish = event
            elif type(event) is Start:
                self.start = event
            elif type(event) is ToolCallDelta:
                self._call(event)
            elif type(event) is ReasoningDelta:
                self._thought(event)
            elif type(event) is RefusalDelta:
                self._refusal.append(event.text)

    def response(self) -> ChatResponse:
        """The whole answer. Raises Broken when no Finish came: a cut answer is no answer."""
        if self.finish is None:
            raise Broken("The upstream's answer ended before it was finished.", code="cut")
        self._shut()
        return ChatResponse(
            id=self.start.id,
            model=self.start.model,
            parts=tuple(self._parts),
            finish=self.finish,
            usage=self.usage,
            refusal="".join(self._refusal) or None,
        )

    def _shut(self) -> None:
        if not self._open.kind:
            return
        part = self._open.close()
        if part is not None:
            self._parts.append(part)
        self._open = _Open()

    def _at(self, kind: str) -> _Open:
        if self._open.kind != kind:
            self._shut()
            self._open.kind = kind
        return self._open

    def _thought(self, event: ReasoningDelta) -> None:
        if event.redacted is not None:
            self._shut()
            self._parts.append(Reasoning(redacted=event.redacted, vendor=event.vendor))
            return
        part = self._at("reasoning")
        part.pieces.append(event.text)
        if event.signature is not None:
            part.signature = event.signature
            part.vendor = event.vendor
            self._shut()

    def _call(self, event: ToolCallDelta) -> None:
        if self._open.kind != "call" or self._open.index != event.index:
            self._shut()
            self._open = _Open(kind="call", index=event.index)
        part = self._open
        part.id = event.id or part.id
        part.name = event.name or part.name
        part.signature = event.signature or part.signature
        part.pieces.append(event.arguments)


def fold(events: Iterable[StreamEvent]) -> ChatResponse:
    """A whole stream -> one response. Raises Broken when it was cut."""
    folder = Folder()
    folder.feed(events)
    return folder.response()
