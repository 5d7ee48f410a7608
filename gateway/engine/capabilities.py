"""What a request asks of a model, and what a target is known to lack for it.

Only what is certain keeps a target from being asked: an ability that nobody speaks of is tried.
Thoughts and answers by a schema are wishes, which the gateway can do without: whoever lacks them
is asked only when nobody else is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat.errors import BadRequest
from chat.request import ChatRequest, Image, Json, Text, ToolResult
from gateway.engine.estimate import estimate
from providers.model_info import Abilities

BYTES_OF_A_CHARACTER = 4
MOST_OF_A_TOOL = 2000
MOST_OF_A_PICTURE = 2000
"""Tokens; to look into each schema would cost more than to ask."""
TURN_TOKENS = 16
"""More than any template writes round a message."""
CERTAIN = 0.75
"""Of our estimate: a question has at least so many tokens, whatever the tokenizer."""

FIELDS: dict[str, tuple[str, ...]] = {
    "tools": ("tools", "functions"),
    "vision": ("messages", "input", "contents", "images"),
    "context": ("messages", "input", "contents", "prompt", "message"),
    "thinking": (
        "reasoning_effort",
        "thinking",
        "reasoning",
        "think",
        "output_config",
        "generationConfig",
    ),
}
"""What a wish is called in the languages at the door."""


@dataclass(frozen=True, slots=True)
class Needs:
    """`tokens` of the question is our estimate; 0 where it is surely short."""

    words: tuple[str, ...] = ()
    """Of `tools`, `vision`, `json` and `thinking`."""
    tokens: int = 0
    answer: int = 0
    """Most tokens that the caller wants back; 0 where he did not say."""


@dataclass(frozen=True, slots=True)
class Lack:
    """`wish`: it can be done without."""

    need: str
    words: str
    wish: bool = False


def needs(request: ChatRequest, least_context: int | None) -> Needs | None:
    """None where any model will do, which is most requests. `least_context`: the smallest context
    that is known among the targets; what is surely shorter is not counted."""
    words: list[str] = []
    if request.tools:
        words.append("tools")
    size = MOST_OF_A_TOOL * len(request.tools)
    pictures = 0
    for message in request.messages:
        size += TURN_TOKENS
        for part in message.parts:
            if type(part) is Text:
                size += BYTES_OF_A_CHARACTER * len(part.text)
            elif isinstance(part, Image):
                pictures += 1
            elif isinstance(part, ToolResult):
                pictures += sum(isinstance(inner, Image) for inner in part.parts)
                size += BYTES_OF_A_CHARACTER * len(part.text)
            else:
                said = getattr(part, "text", None) or getattr(part, "arguments", None)
                # Of a file the bytes that are sent; no model counts more.
                size += BYTES_OF_A_CHARACTER * len(said or getattr(part, "data", None) or "")
    if pictures:
        words.append("vision")
    form = request.response_format
    if form is not None and form.kind == "json_schema":
        words.append("json")
    if _thinks(request):
        words.append("thinking")
    answer = request.sampling.max_tokens or 0
    size += MOST_OF_A_PICTURE * pictures
    long = least_context is not None and size + answer > least_context
    if not words and not long:
        return None
    return Needs(tuple(words), estimate(request) if long else 0, answer)


def lacks(can: Abilities, wanted: Needs) -> list[Lack]:
    """What is certain to be missing."""
    found = [
        Lack(word, f"no {word}", wish=word in ("json", "thinking"))
        for word in wanted.words
        if getattr(can, word) is False
    ]
    context = can.context
    if context is not None and wanted.tokens + wanted.answer > context:
        sure = wanted.tokens * CERTAIN > context
        words = f"a context of {context} tokens for about {wanted.tokens}"
        if wanted.answer:
            words += f" and an answer of {wanted.answer}"
        found.append(Lack("context", words, wish=not sure))
    return found


def refusal(names: Sequence[tuple[str, Lack]], body: Mapping[str, Json]) -> BadRequest:
    """Nobody can what is asked: who lacks what, and the field that asks for it."""
    need = names[0][1].need
    said = "; ".join(f"{name} has {lack.words}" for name, lack in names)
    field = next((name for name in FIELDS[need] if name in body), FIELDS[need][0])
    return BadRequest(
        f"{said}: {field} asks for it.",
        param=field,
        code="context_length_exceeded" if need == "context" else f"{need}_unsupported",
    )


def _thinks(request: ChatRequest) -> bool:
    if request.effort is not None:
        return request.effort not in ("none", "minimal")
    return bool(request.thinking_budget)
