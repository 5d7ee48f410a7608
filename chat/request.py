"""What a caller asks, in no vendor's words. Values are frozen and dumb.

Opaque vendor data (thought signatures, cache marks) rides along in `opaque` and is echoed to
the vendor it came from, never to another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, dataclass_transform

Json: TypeAlias = Any
"""A value of JSON: dict, list, str, int, float, bool or None."""

Role = Literal["system", "user", "assistant", "tool"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Frozen, which the type checker sees to: at run time it costs a call for each field of each
    one that is made, four times the rest of it."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@value
class Text:
    text: str
    opaque: Mapping[str, Json] | None = None
    """For example Anthropic's cache_control."""


@value
class Image:
    """Base64 `data` with its `media_type`, or a `url` that only the upstream may fetch."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: str | None = None
    opaque: Mapping[str, Json] | None = None


@value
class File:
    """A document or a sound: base64 `data`, or a `url`/id that only the upstream knows."""

    kind: Literal["document", "audio"]
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    name: str | None = None
    opaque: Mapping[str, Json] | None = None


@value
class Reasoning:
    """What the model thought. `signature` proves it to the vendor that made it, `redacted` is a
    whole thought that only that vendor can read.

    `vendor` is the name of the dialect that both came in, None where there is neither. To any
    other vendor they are never sent, and to a caller of any other dialect never shown: wrapped
    up for the way back, they would end in histories that other servers refuse.
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    vendor: str | None = None


@value
class ToolCall:
    id: str
    name: str
    arguments: str
    """JSON text of one object; "" stands for {}."""
    signature: str | None = None
    """Gemini's thoughtSignature of this call."""


@value
class ToolResult:
    call_id: str
    parts: tuple[Text | Image, ...]
    name: str | None = None
    is_error: bool = False
    opaque: Mapping[str, Json] | None = None

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))


Part: TypeAlias = Text | Image | File | Reasoning | ToolCall | ToolResult


@value
class Message:
    role: Role
    parts: tuple[Part, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """All text parts, joined."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Text):
            return self.parts[0].text
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@value
class Tool:
    name: str
    description: str | None = None
    parameters: Mapping[str, Json] | None = None
    """JSON Schema of one object; None stands for no parameters."""
    strict: bool | None = None
    opaque: Mapping[str, Json] | None = None


@value
class ToolChoice:
    """`auto`, `none`, `required` (any one), or `named` (one of `names`)."""

    mode: Literal["auto", "none", "required", "named"]
    names: tuple[str, ...] = ()


@value
class Sampling:
    """None means that the caller did not say. Absent is not zero."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


@value
class ResponseFormat:
    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: Mapping[str, Json] | None = None
    strict: bool | None = None
    description: str | None = None
    where: str = field(default="response_format", compare=False)
    """The schema's place in the caller's body, for errors."""


@value
class ChatRequest:
    model: str
    """What the caller wrote: a target, an alias, a bare name or "auto"."""
    messages: tuple[Message, ...]
    stream: bool = False
    sampling: Sampling = Sampling()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    effort: Effort | None = None
    """How hard to think; None means that the caller did not say."""
    thinking_budget: int | None = None
    """Tokens of thought, where the caller gave a number instead of an effort."""
    include_thoughts: bool | None = None
    include_usage: bool = True
    """OpenAI's stream_options.include_usage; other dialects always send usage."""
    user: str | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)
    """Fields of the caller's dialect that we do not know; sent on to the same dialect only."""
