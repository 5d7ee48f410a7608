"""An answer as events, on its way by, in store, and played again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson

from chat.errors import UpstreamError
from chat.events import (
    Batch,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.request import ChatRequest, Json
from dialects.base import OutboundDialect
from dialects.framing import Frame
from gateway.engine.ports import Kept, Provider
from providers.tap import Tap

KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Start, TextDelta, ReasoningDelta, ToolCallDelta, Usage, Finish)
}
WHOLE = ("stop", "tool_calls")
"""Reasons of an answer that came to its own end."""


class Taped:
    """A provider whose answer is heard as it passes. Each question begins anew."""

    def __init__(self, provider: Provider, longest: int) -> None:
        self.name = provider.name
        self.events: list[StreamEvent] = []
        self._provider = provider
        self._longest = longest
        self._size = 0

    @property
    def dialect(self) -> OutboundDialect:
        return self._provider.dialect

    async def stream(
        self, request: ChatRequest, model: str, tap: Tap[Batch] | None = None
    ) -> AsyncGenerator[Batch, None]:
        self.events, self._size = [], 0
        batches = self._provider.stream(request, model)
        try:
            async for batch in batches:
                self._hear(batch)
                yield batch
        finally:
            await batches.aclose()

    async def whole(self, request: ChatRequest, model: str) -> Batch:
        self.events, self._size = [], 0
        batch = await self._provider.whole(request, model)
        self._hear(batch)
        return batch

    def relay(
        self,
        body: dict[str, Json],
        model: str,
        stream: bool,
        tap: Tap[Sequence[Frame]] | None = None,
    ) -> AsyncGenerator[Sequence[Frame], None]:
        return self._provider.relay(body, model, stream)

    async def relay_whole(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        return await self._provider.relay_whole(body, model)

    def scrub(self, error: UpstreamError) -> None:
        self._provider.scrub(error)

    def _hear(self, batch: Batch) -> None:
        if self._size > self._longest:
            return
        for event in batch:
            if isinstance(event, TextDelta | ReasoningDelta):
                self._size += len(event.text)
            elif isinstance(event, ToolCallDelta):
                self._size += len(event.arguments)
        self._size += len(batch)
        if self._size > self._longest:
            self.events = []
        else:
            self.events += batch


def worth_keeping(events: Sequence[StreamEvent]) -> bool:
    """A whole answer with something in it: no refusal, none that was cut or filtered."""
    finish = next((event for event in events if isinstance(event, Finish)), None)
    if finish is None or finish.reason not in WHOLE or finish.detail in ("pause_turn", "refusal"):
        return False
    if any(isinstance(event, RefusalDelta) for event in events):
        return False
    return any(
        isinstance(event, ToolCallDelta) or (isinstance(event, TextDelta) and event.text)
        for event in events
    )


def packed(events: Sequence[StreamEvent], provider: str, model: str) -> bytes:
    rows = [
        [type(event).__name__, *(getattr(event, field.name) for field in fields(event))]
        for event in events
    ]
    return orjson.dumps({"provider": provider, "model": model, "events": rows})


def unpacked(raw: bytes) -> Kept:
    """Raises ValueError, KeyError or TypeError for what is none of ours."""
    tree = orjson.loads(raw)
    events: list[StreamEvent] = [KINDS[row[0]](*row[1:]) for row in tree["events"]]
    usage = Usage()
    for event in events:
        if isinstance(event, Usage):
            usage = usage.merged(event)
    return Kept(Replayed(tree["provider"], events), tree["model"], usage)


@dataclass(frozen=True, slots=True)
class Silent:
    """The dialect of a kept answer: nobody is asked in it, and it is in the form asked for."""

    name: str = "cache"

    def enforces(self, request: ChatRequest, model: str) -> bool:
        return True


class Replayed:
    """Says again what an upstream said. The engine's Provider."""

    def __init__(self, name: str, events: Batch) -> None:
        self.name = name
        self._events = events

    @property
    def dialect(self) -> Any:
        return Silent()

    async def stream(
        self, request: ChatRequest, model: str, tap: Tap[Batch] | None = None
    ) -> AsyncGenerator[Batch, None]:
        yield self._events

    async def whole(self, request: ChatRequest, model: str) -> Batch:
        return self._events

    def relay(
        self,
        body: dict[str, Json],
        model: str,
        stream: bool,
        tap: Tap[Sequence[Frame]] | None = None,
    ) -> AsyncGenerator[Sequence[Frame], None]:
        raise NotImplementedError("a kept answer has no frames")

    async def relay_whole(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        raise NotImplementedError("a kept answer has no body")

    def scrub(self, error: UpstreamError) -> None:
        pass
