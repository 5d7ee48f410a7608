"""The response object, and the items of its output."""

from __future__ import annotations

from chat.errors import GatewayError
from chat.events import FinishReason, Usage
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json, Reasoning, Text, ToolCall
from chat.trace import Trace
from dialects.openai.errors import render_error

_REASONS: dict[FinishReason, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


def render_response(
    request: ChatRequest, response: ChatResponse, trace: Trace, created: int
) -> dict[str, Json]:
    model = trace.model or response.model or request.model
    told = opening(request, trace.request_id, model, created)
    ids = (f"{trace.request_id}_{number}" for number in range(len(response.parts) + 1))
    output: list[Json] = []
    for part, item_id in zip(response.parts, ids, strict=False):
        if isinstance(part, Text):
            output.append(message_item(item_id, [text_part(part.text)], "completed"))
        elif isinstance(part, Reasoning):
            if part.text:
                output.append(reasoning_item(item_id, part.text))
        else:
            output.append(call_item(item_id, part, "completed"))
    if response.refusal:
        refusal = {"type": "refusal", "refusal": response.refusal}
        output.append(message_item(next(ids), [refusal], "completed"))
    told["output"] = output
    return finished(told, response.finish.reason, response.usage)


def opening(request: ChatRequest, answer_id: str, model: str, created: int) -> dict[str, Json]:
    """The object while nothing was said yet."""
    echo = request.extra["echo"]
    text = {"format": {"type": "text"}, **echo.get("text", {})}
    return {
        # Not resp_: Copilot takes that for an answer that is kept, and sends only what is new
        # with its id as previous_response_id (PROTOCOLS 2.6).
        "id": f"answer_{answer_id}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": echo.get("instructions"),
        "max_output_tokens": echo.get("max_output_tokens"),
        "metadata": echo.get("metadata", {}),
        "model": model,
        "output": [],
        "parallel_tool_calls": echo.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **echo.get("reasoning", {})},
        "service_tier": "default",
        # Whatever was asked: nothing is kept.
        "store": False,
        "temperature": echo.get("temperature"),
        "text": text,
        "tool_choice": echo.get("tool_choice", "auto"),
        "tools": echo.get("tools", []),
        "top_p": echo.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": echo.get("user"),
    }


def finished(told: dict[str, Json], reason: FinishReason, usage: Usage) -> dict[str, Json]:
    """`told` with its end: completed, or incomplete and why."""
    short = _REASONS.get(reason)
    told["status"] = "incomplete" if short else "completed"
    if short:
        told["incomplete_details"] = {"reason": short}
    told["usage"] = render_usage(usage)
    return told


def failed(told: dict[str, Json], error: GatewayError) -> dict[str, Json]:
    written = render_error(error)["error"]
    told["status"] = "failed"
    told["error"] = {"code": written["code"] or written["type"], "message": error.message}
    return told


def render_usage(usage: Usage) -> Json:
    """None when nobody counted."""
    if usage.total_tokens is None:
        return None
    return {
        "input_tokens": usage.input_tokens or 0,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "output_tokens": usage.output_tokens or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }


def text_part(text: str) -> dict[str, Json]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message_item(item_id: str, content: list[dict[str, Json]], status: str) -> dict[str, Json]:
    return {
        "id": f"msg_{item_id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def reasoning_item(item_id: str, text: str) -> dict[str, Json]:
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"id": f"rs_{item_id}", "type": "reasoning", "summary": summary}


def call_item(item_id: str, call: ToolCall, status: str) -> dict[str, Json]:
    """Clients parse the arguments as JSON, which nothing at all is not."""
    arguments = call.arguments or ("{}" if status == "completed" else "")
    return {
        "id": f"fc_{item_id}",
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }
