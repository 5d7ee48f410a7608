"""finishReason, both ways. Google adds to this list; what we do not know is a stop."""

from __future__ import annotations

from chat.events import Finish, FinishReason

REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "OTHER": "stop",
    "NO_IMAGE": "stop",
    "IMAGE_OTHER": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
    "PUP_LIMITED_DISABLED": "content_filter",
}

FAULTS = frozenset(
    (
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
    )
)
"""The model failed: there is no answer, whatever text came before."""

_PLAIN: dict[FinishReason, str] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}


def finish_of(told: str, called: bool) -> Finish:
    """`called`: at least one function call was emitted."""
    reason = REASONS.get(told, "stop")
    if reason == "stop" and called:
        reason = "tool_calls"
    return Finish(reason, detail=None if told in ("STOP", "MAX_TOKENS") else told)


def reason_of(finish: Finish | None) -> str:
    if finish is None:
        return "OTHER"
    reason: FinishReason = "stop" if finish.reason == "tool_calls" else finish.reason
    if finish.detail is not None and REASONS.get(finish.detail) == reason:
        return finish.detail
    return _PLAIN[reason]
