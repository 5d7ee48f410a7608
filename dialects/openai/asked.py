"""The body of POST /v1/chat/completions -> ChatRequest (PROTOCOLS 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from chat.request import (
    ChatRequest,
    Effort,
    Json,
    Message,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from dialects import reading
from dialects.openai.messages import read_messages
from dialects.reading import bad

_KNOWN = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "n",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "user",
        "functions",
        "function_call",
    }
)
_EFFORTS: tuple[str, ...] = get_args(Effort)


def parse_request(body: Json) -> ChatRequest:
    body = reading.body_object(body)
    model = reading.filled_text(body, "model")
    messages = _messages(body)
    for retired in ("functions", "function_call"):
        if body.get(retired):
            bad(retired, "is the retired form; use tools and tool_choice.")
    count = reading.integer(body, "n", low=1)
    if count is not None and count > 1:
        bad("n", f"must be 1, not {count}: one request has one answer here.")
    stream = reading.flag(body, "stream") or False
    options = reading.optional_object(body, "stream_options") or {}
    wanted = reading.flag(options, "include_usage", "stream_options.") or False
    tools, choice = _chosen(body, _tools(body))
    return ChatRequest(
        model=model,
        messages=messages,
        stream=stream,
        sampling=_sampling(body),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=reading.flag(body, "parallel_tool_calls"),
        response_format=_format(body),
        effort=_effort(body),
        include_usage=wanted or not stream,
        user=reading.optional_text(body, "user"),
        extra=_extra(body),
    )


def _messages(body: Mapping[str, Json]) -> tuple[Message, ...]:
    if body.get("messages") is None:
        bad("messages", "is required.")
    items = reading.objects(body, "messages")
    if not items:
        bad("messages", "must not be empty.")
    return read_messages(items)


def _sampling(body: Mapping[str, Json]) -> Sampling:
    limit = reading.integer(body, "max_completion_tokens", low=1)
    older = reading.integer(body, "max_tokens", low=1)
    return Sampling(
        temperature=reading.number(body, "temperature", low=0, high=2),
        top_p=reading.number(body, "top_p", low=0, high=1),
        top_k=reading.integer(body, "top_k", low=-1),
        min_p=reading.number(body, "min_p", low=0, high=1),
        max_tokens=older if limit is None else limit,
        stop=tuple(stop for stop in reading.texts(body, "stop") if stop),
        seed=reading.integer(body, "seed"),
        presence_penalty=reading.number(body, "presence_penalty", low=-2, high=2),
        frequency_penalty=reading.number(body, "frequency_penalty", low=-2, high=2),
    )


def _tools(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    return tuple(_tool(path, item) for path, item in reading.objects(body, "tools"))


def _tool(path: str, item: Mapping[str, Json]) -> Tool:
    kind = item.get("type", "function")
    if kind != "function":
        bad(path + "type", f'must be "function", not {kind!r}.')
    function = reading.required_object(item, "function", path)
    path += "function."
    return Tool(
        name=reading.filled_text(function, "name", path),
        description=reading.optional_text(function, "description", path),
        parameters=reading.optional_object(function, "parameters", path),
        strict=reading.flag(function, "strict", path),
    )


def _chosen(
    body: Mapping[str, Json], tools: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """The tools that may be called, and the choice among them."""
    choice = body.get("tool_choice")
    if choice is None:
        return tools, None
    if choice == "auto" or choice == "none" or choice == "required":
        if choice == "required" and not tools:
            bad("tool_choice", "asks for a call, and there are no tools.")
        return tools, ToolChoice(choice)
    if not isinstance(choice, dict):
        bad("tool_choice", 'must be "auto", "none", "required" or an object.')
    kind = choice.get("type")
    if kind == "function":
        name = _chosen_name(choice, "tool_choice.", tools)
        return tools, ToolChoice("named", (name,))
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    return bad("tool_choice.type", 'must be "function" or "allowed_tools".')


def _allowed(
    choice: Mapping[str, Json], tools: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], ToolChoice]:
    path = "tool_choice.allowed_tools."
    allowed = reading.required_object(choice, "allowed_tools", "tool_choice.")
    mode = allowed.get("mode", "auto")
    if mode != "auto" and mode != "required":
        bad(path + "mode", 'must be "auto" or "required".')
    names = {
        _chosen_name(item, where, tools) for where, item in reading.objects(allowed, "tools", path)
    }
    if not names:
        bad(path + "tools", "must not be empty.")
    return tuple(tool for tool in tools if tool.name in names), ToolChoice(mode)


def _chosen_name(choice: Mapping[str, Json], path: str, tools: tuple[Tool, ...]) -> str:
    function = reading.required_object(choice, "function", path)
    name = reading.filled_text(function, "name", path + "function.")
    if name not in {tool.name for tool in tools}:
        bad(path + "function.name", f"names {name!r}, which is none of the tools.")
    return name


def _format(body: Mapping[str, Json]) -> ResponseFormat | None:
    wanted = reading.optional_object(body, "response_format")
    if wanted is None:
        return None
    path = "response_format."
    kind = reading.text(wanted, "type", path)
    if kind == "text":
        return ResponseFormat("text")
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind != "json_schema":
        bad(path + "type", 'must be "text", "json_object" or "json_schema".')
    told = reading.required_object(wanted, "json_schema", path)
    path += "json_schema."
    return ResponseFormat(
        "json_schema",
        name=reading.optional_text(told, "name", path),
        schema=reading.optional_object(told, "schema", path),
        strict=reading.flag(told, "strict", path),
        description=reading.optional_text(told, "description", path),
        where=path + "schema",
    )


def _effort(body: Mapping[str, Json]) -> Effort | None:
    effort = reading.optional_text(body, "reasoning_effort")
    for known in get_args(Effort):
        if effort == known:
            found: Effort = known
            return found
    if effort is not None:
        bad("reasoning_effort", f"must be one of {', '.join(_EFFORTS)}.")
    return None


def _extra(body: Mapping[str, Json]) -> Mapping[str, Json]:
    fields = {field: value for field, value in body.items() if field not in _KNOWN}
    return {"dialect": "openai", "fields": fields} if fields else {}
