"""Going on where an answer broke off: the next target continues the text, the caller reads on.

The next target is asked with the text so far as the assistant's last message, to the character.
Only text can be gone on with: a tool call, a thought or a refusal belongs to the model that began
it, and an answer in a format is held by its grammar from its first character on.

Whitespace at the end is the trap: Anthropic refuses it, templates trim it, tokens begin with it.
So it is asked without, and what comes is read past the whitespace that the caller has already.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

from chat.errors import Broken, GatewayError, UpstreamError
from chat.events import (
    Finish,
    Start,
    StreamEvent,
    TextDelta,
    Usage,
)
from chat.request import ChatRequest, Message, Text
from chat.trace import Trace
from dialects.base import Renderer
from gateway.engine.attempt import Attempt
from gateway.engine.names import Target
from gateway.engine.ports import Progress, Provider
from gateway.engine.routing import Plan
from gateway.engine.story import Story, added

CHARACTERS_PER_TOKEN = 4
LEAST_ECHO = 24
"""Characters; a shorter text may well be said twice in earnest."""


def can_be_told_on(request: ChatRequest) -> bool:
    return request.response_format is None or request.response_format.kind == "text"


def rest_of(plan: Plan, attempts: list[Attempt], story: Story) -> Plan | None:
    """Who has not failed yet (the slower of two is asked again) and goes on with a given text;
    None when nobody is left."""
    asked = {one.target.name for one in attempts if one.outcome != "cancelled"}
    begun = bool(story.text.strip())

    def fits(target: Target) -> bool:
        return target.name not in asked and (target.can.prefill is True or not begun)

    left = tuple(target for target in plan.targets if fits(target))
    return Plan(left) if left else None


def continuation(request: ChatRequest, story: Story) -> ChatRequest:
    """The question with the text so far, and no more tokens than are left of the limit."""
    told = story.text
    sampling = request.sampling
    if sampling.max_tokens is not None and told:
        used = story.usage.output_tokens or -(-len(told) // CHARACTERS_PER_TOKEN)
        sampling = replace(sampling, max_tokens=max(1, sampling.max_tokens - used))
    messages = request.messages
    if told.strip():
        begun = ""
        if messages and messages[-1].role == "assistant":
            # The caller had begun the answer himself.
            begun = messages[-1].text
            messages = messages[:-1]
        messages = (*messages, Message("assistant", (Text((begun + told).rstrip()),)))
    return replace(request, messages=messages, sampling=sampling, effort=None, thinking_budget=None)


async def continued(
    request: ChatRequest,
    provider: Provider,
    model: str,
    story: Story,
    renderer: Renderer,
    closing: Callable[[], Trace],
    progress: Progress,
) -> AsyncGenerator[bytes, None]:
    """Events of the continuation -> the caller's frames, by the renderer that began them."""
    seam = Seam(story.text)
    finished = False
    batches = provider.stream(request, model)
    try:
        async for batch in batches:
            progress.seen += 1
            shown: list[StreamEvent] = []
            for event in batch:
                if isinstance(event, Start):
                    # The caller's answer has begun long ago.
                    continue
                if isinstance(event, Usage):
                    progress.usage = progress.usage.merged(event)
                    shown.append(added(story.usage, progress.usage))
                    continue
                if isinstance(event, TextDelta):
                    if text := seam.past(event.text):
                        shown.append(TextDelta(text))
                    continue
                if held := seam.flushed():
                    shown.append(TextDelta(held))
                if isinstance(event, Finish):
                    finished = True
                shown.append(event)
            story.add(shown)
            piece = renderer.feed(shown)
            if piece:
                yield piece
    finally:
        await batches.aclose()
    if not finished:
        raise Broken("The upstream's answer ended before it was finished.", code="cut")
    yield renderer.close(closing())


class Seam:
    """Where the continuation meets what was told: the whitespace that the caller has already is
    read past, and so is the whole text where a server says it once more (llama.cpp does in whole
    answers)."""

    def __init__(self, told: str) -> None:
        asked = told.rstrip()
        self._space = told[len(asked) :]
        self._echo = asked if len(asked) >= LEAST_ECHO else ""
        self._held = ""

    def past(self, text: str) -> str:
        """What of it is new; "" while nobody can say."""
        if self._echo:
            self._held += text
            if self._echo.startswith(self._held) and self._echo != self._held:
                return ""
            text = self._held.removeprefix(self._echo)
            self._echo = self._held = ""
        if not self._space:
            return text
        at = 0
        while at < min(len(text), len(self._space)) and text[at] == self._space[at]:
            at += 1
        # What of the whitespace was not said yet may still come, if nothing else came.
        self._space = self._space[at:] if at == len(text) else ""
        return text[at:]

    def flushed(self) -> str:
        """What was held back and is no echo after all."""
        held, self._held, self._echo = self._held, "", ""
        return self.past(held) if held else ""


def worth(failure: GatewayError) -> bool:
    """A fault of the upstream's, and not a word on the request itself."""
    return isinstance(failure, UpstreamError) and failure.fallback
