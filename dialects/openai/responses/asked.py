"""The body of POST /v1/responses -> ChatRequest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from chat.request import ChatRequest, Effort, Json, ResponseFormat, Sampling, Tool, ToolChoice
from dialects import reading
from dialects.openai.responses.items import read_input
from dialects.reading import bad

_EFFORTS: tuple[str, ...] = get_args(Effort)
_STATE = {
    "previous_response_id": "answers are not kept here; send the whole conversation in `input`",
    "conversation": "conversations are not kept here; send the whole one in `input`",
    "prompt": "prompts are not kept here; send their text in `instructions`",
}
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "user",
)
"""What an answer repeats of its question."""


def parse_request(body: Json) -> ChatRequest:
    body = reading.body_object(body)
    for field, why in _STATE.items():
        if body.get(field) is not None:
            bad(field, f"is not supported: {why}.")
    if reading.flag(body, "background"):
        bad("background", "is not supported: POST /jobs answers later.")
    if body.get("truncation") not in (None, "disabled"):
        bad("truncation", 'must be "disabled": nothing is left out of a conversation in silence.')
    if reading.integer(body, "top_logprobs", low=0):
        bad("top_logprobs", "is not supported.")
    # What else may be included is either always there or made by tools that we have not.
    if "message.output_text.logprobs" in reading.texts(body, "include"):
        bad("include", "asks for message.output_text.logprobs, which are not supported.")
    reading.flag(body, "store")
    tools, choice = _chosen(body, _tools(body))
    return ChatRequest(
        model=reading.filled_text(body, "model"),
        messages=read_input(body),
        stream=reading.flag(body, "stream") or False,
        sampling=Sampling(
            temperature=reading.number(body, "temperature", low=0, high=2),
            top_p=reading.number(body, "top_p", low=0, high=1),
            max_tokens=reading.integer(body, "max_output_tokens", low=1),
        ),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=reading.flag(body, "parallel_tool_calls"),
        response_format=_format(body),
        effort=_effort(body),
        user=reading.optional_text(body, "user"),
        extra={
            "dialect": "responses",
            "echo": {field: body[field] for field in _ECHOED if body.get(field) is not None},
        },
    )


def _tools(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    return tuple(_tool(path, item) for path, item in reading.objects(body, "tools"))


def _tool(path: str, item: Mapping[str, Json]) -> Tool:
    kind = item.get("type")
    if kind != "function":
        bad(path + "type", f'must be "function", not {kind!r}: no tools are run here.')
    return Tool(
        name=reading.filled_text(item, "name", path),
        description=reading.optional_text(item, "description", path),
        parameters=reading.optional_object(item, "parameters", path),
        strict=reading.flag(item, "strict", path),
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
        return tools, ToolChoice("named", (_name(choice, "tool_choice.", tools),))
    if kind != "allowed_tools":
        bad("tool_choice.type", 'must be "function" or "allowed_tools".')
    mode = choice.get("mode", "auto")
    if mode != "auto" and mode != "required":
        bad("tool_choice.mode", 'must be "auto" or "required".')
    allowed = {
        _name(item, where, tools)
        for where, item in reading.objects(choice, "tools", "tool_choice.")
    }
    if not allowed:
        bad("tool_choice.tools", "must not be empty.")
    return tuple(tool for tool in tools if tool.name in allowed), ToolChoice(mode)


def _name(choice: Mapping[str, Json], path: str, tools: tuple[Tool, ...]) -> str:
    name = reading.filled_text(choice, "name", path)
    if name not in {tool.name for tool in tools}:
        bad(path + "name", f"is {name!r}, which is none of the tools.")
    return name


def _format(body: Mapping[str, Json]) -> ResponseFormat | None:
    text = reading.optional_object(body, "text") or {}
    told = reading.optional_object(text, "format", "text.")
    if told is None:
        return None
    path = "text.format."
    kind = reading.text(told, "type", path)
    if kind == "text":
        return ResponseFormat("text")
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind != "json_schema":
        bad(path + "type", 'must be "text", "json_object" or "json_schema".')
    return ResponseFormat(
        "json_schema",
        name=reading.filled_text(told, "name", path),
        schema=reading.required_object(told, "schema", path),
        strict=reading.flag(told, "strict", path),
        description=reading.optional_text(told, "description", path),
        where=path + "schema",
    )


def _effort(body: Mapping[str, Json]) -> Effort | None:
    wanted = reading.optional_object(body, "reasoning") or {}
    effort = reading.optional_text(wanted, "effort", "reasoning.")
    for known in get_args(Effort):
        if effort == known:
            found: Effort = known
            return found
    if effort is not None:
        bad("reasoning.effort", f"must be one of {', '.join(_EFFORTS)}.")
    return None
