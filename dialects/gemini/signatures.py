"""Signatures of function calls. Of parallel calls Gemini signs the first one only, and since
version 3 it refuses a history in which that one has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chat.request import Json

UNSIGNED: Final = "skip_thought_signature_validator"
"""Google's word for a call that another model made, or whose signature was lost on the way:
https://ai.google.dev/gemini-api/docs/thought-signatures."""

_CALL: Final = ("functionCall", "function_call")
_SIGNATURE: Final = ("thoughtSignature", "thought_signature")


def signed(parts: Sequence[Json]) -> Sequence[Json]:
    """The same parts, or a copy in which the first call is excused from its signature."""
    for at, part in enumerate(parts):
        if isinstance(part, dict) and any(name in part for name in _CALL):
            if any(part.get(name) for name in _SIGNATURE):
                return parts
            return [*parts[:at], {**part, "thoughtSignature": UNSIGNED}, *parts[at + 1 :]]
    return parts


def with_signed_calls(contents: Json) -> Json:
    """The same contents of a caller's body, or a copy in which each first call is signed: he may
    have been answered by another vendor before."""
    if not isinstance(contents, list):
        return contents
    return [_with_signed_call(content) for content in contents]


def _with_signed_call(content: Json) -> Json:
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list) or content.get("role") != "model":
        return content
    return {**content, "parts": signed(parts)}
