"""usageMetadata, both ways. Gemini counts thoughts apart from its answer, we count them in."""

from __future__ import annotations

from collections.abc import Mapping

from chat.events import Usage
from chat.request import Json
from dialects.answers import count


def usage_of(meta: Mapping[str, Json]) -> Usage:
    """Input: promptTokenCount (which counts cached tokens) plus toolUsePromptTokenCount.
    Output: candidatesTokenCount plus thoughtsTokenCount."""
    thoughts = count(meta.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=_sum(
            count(meta.get("promptTokenCount")), count(meta.get("toolUsePromptTokenCount"))
        ),
        output_tokens=_sum(count(meta.get("candidatesTokenCount")), thoughts),
        cached_tokens=count(meta.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )


def metadata_of(usage: Usage) -> dict[str, Json]:
    """What nobody counted is left out; {} when nothing was counted."""
    meta: dict[str, Json] = {}
    if usage.input_tokens is not None:
        meta["promptTokenCount"] = usage.input_tokens
    if usage.output_tokens is not None:
        meta["candidatesTokenCount"] = max(0, usage.output_tokens - (usage.reasoning_tokens or 0))
    if usage.total_tokens is not None:
        meta["totalTokenCount"] = usage.total_tokens
    if usage.cached_tokens is not None:
        meta["cachedContentTokenCount"] = usage.cached_tokens
    if usage.reasoning_tokens is not None:
        meta["thoughtsTokenCount"] = usage.reasoning_tokens
    return meta


def _sum(one: int | None, other: int | None) -> int | None:
    if one is None:
        return other
    return one if other is None else one + other
