"""ChatRequest -> body of POST /v1/messages, for version 2023-06-01 (PROTOCOLS 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from chat.request import ChatRequest, Json, Message, ResponseFormat, Tool, ToolCall
from dialects.anthropic.conversation import conversation, marks_of
from dialects.anthropic.models import add_system, fit, takes_format
from dialects.anthropic.schema import closed
from dialects.anthropic.words import NAME
from dialects.structured import in_words

TOOL_MARKS: Final = (
    "cache_control",
    "defer_loading",
    "input_examples",
    "eager_input_streaming",
    "allowed_callers",
)
"""What a tool of Anthropic's may carry besides what all vendors know."""

_EFFORTS: Final = {"minimal": "low"}


def build_request(request: ChatRequest, model: str, default_max_tokens: int) -> dict[str, Json]:
    """Raises Rejected (the next target may be asked) for content that Anthropic cannot read."""
    sampling = request.sampling
    system, messages = conversation(request.messages)
    body: dict[str, Json] = {
        "model": model,
        "max_tokens": default_max_tokens if sampling.max_tokens is None else sampling.max_tokens,
        "messages": messages,
    }
    if system:
        body["system"] = system
    if request.stream:
        body["stream"] = True
    _add_sampling(body, request)
    _add_tools(body, request)
    _add_thinking(body, request)
    if request.response_format is not None:
        _add_format(body, request.response_format, model)
    if request.user:
        body["metadata"] = {"user_id": request.user}
    if request.extra.get("dialect") == NAME:
        _add_extra(body, request.extra)
    fit(body, model, may_grow=sampling.max_tokens is None)
    return body


def _add_sampling(body: dict[str, Json], request: ChatRequest) -> None:
    sampling = request.sampling
    if sampling.temperature is not None:
        body["temperature"] = min(max(sampling.temperature, 0.0), 1.0)
    elif sampling.top_p is not None:
        # Not both: models since 4.5 refuse it.
        body["top_p"] = min(max(sampling.top_p, 0.0), 1.0)
    if sampling.top_k is not None and sampling.top_k > 0:
        body["top_k"] = sampling.top_k
    stops = [stop for stop in sampling.stop if stop.strip()]
    if stops:
        body["stop_sequences"] = stops


def _add_tools(body: dict[str, Json], request: ChatRequest) -> None:
    choice = request.tool_choice
    tools = request.tools
    if choice is not None and choice.mode == "named" and len(choice.names) > 1:
        tools = tuple(tool for tool in tools if tool.name in choice.names)
    wire = [_tool(tool) for tool in tools]
    if request.extra.get("dialect") == NAME:
        wire += request.extra.get("tools") or []
    if not wire:
        _add_spent_tools(body, request.messages)
        return
    body["tools"] = wire
    one_by_one = request.parallel_tool_calls is False
    if choice is None and not one_by_one:
        return
    said: dict[str, Json] = {"type": "auto"}
    if choice is not None and choice.mode == "none":
        body["tool_choice"] = {"type": "none"}
        return
    if choice is not None and choice.mode == "required":
        said = {"type": "any"}
    elif choice is not None and choice.mode == "named":
        single = len(choice.names) == 1
        said = {"type": "tool", "name": choice.names[0]} if single else {"type": "any"}
    if one_by_one:
        said["disable_parallel_tool_use"] = True
    body["tool_choice"] = said


def _add_spent_tools(body: dict[str, Json], messages: Iterable[Message]) -> None:
    """A history with calls wants tools; where the caller left them out, they are named and may
    not be called."""
    parts = (part for message in messages for part in message.parts)
    names = dict.fromkeys(part.name for part in parts if isinstance(part, ToolCall))
    if names:
        body["tools"] = [_tool(Tool(name)) for name in names]
        body["tool_choice"] = {"type": "none"}


def _tool(tool: Tool) -> Json:
    schema = dict(tool.parameters or {})
    if schema.get("type") != "object":
        schema["type"] = "object"
    schema.setdefault("properties", {})
    wire: dict[str, Json] = {"name": tool.name, "input_schema": schema}
    if tool.description:
        wire["description"] = tool.description
    if tool.strict:
        wire["strict"] = True
    return {**wire, **marks_of(tool.opaque, *TOOL_MARKS)}


def _add_thinking(body: dict[str, Json], request: ChatRequest) -> None:
    """An effort as adaptive thinking with output_config.effort, a number as a budget (0: none,
    -1: as the model likes); `fit` turns one into the other where the model wants it."""
    effort, budget = request.effort, request.thinking_budget
    if effort == "none" or budget == 0:
        body["thinking"] = {"type": "disabled"}
        return
    if effort is not None:
        body["output_config"] = {"effort": _EFFORTS.get(effort, effort)}
    if budget is not None and budget > 0:
        body["thinking"] = {"type": "enabled", "budget_tokens": max(1024, budget)}
    elif effort is not None or budget is not None:
        body["thinking"] = {"type": "adaptive"}
    else:
        return
    if request.include_thoughts is not None:
        body["thinking"]["display"] = "summarized" if request.include_thoughts else "omitted"


def enforces(wanted: ResponseFormat | None, model: str) -> bool:
    if wanted is None or wanted.kind == "text":
        return True
    return wanted.kind == "json_schema" and bool(wanted.schema) and takes_format(model)


def _add_format(body: dict[str, Json], wanted: ResponseFormat, model: str) -> None:
    if wanted.schema and enforces(wanted, model):
        schema = closed(wanted.schema)
        if wanted.description and "description" not in schema:
            schema["description"] = wanted.description
        form = {"type": "json_schema", "schema": schema}
        body["output_config"] = {**body.get("output_config", {}), "format": form}
    elif wanted.kind != "text":
        add_system(body, in_words(wanted))


def _add_extra(body: dict[str, Json], extra: Mapping[str, Json]) -> None:
    """Fields of the caller's that we do not know; what is set already stays."""
    for name, value in (extra.get("fields") or {}).items():
        ours = body.get(name)
        if ours is None:
            body[name] = value
        elif isinstance(ours, dict) and isinstance(value, dict):
            body[name] = {**value, **ours}
