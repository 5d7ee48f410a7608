"""The body of POST /v1/responses -> ChatRequest."""

from __future__ import annotations

from collections.abc import Mapping

from chat.request import ChatRequest, Json, Sampling, Tool
from dialects import reading
from dialects.openai.responses.items import read_input
from dialects.openai.wishes import read_choice, read_effort, read_format
from dialects.reading import bad

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
    tools, choice = read_choice(body, _tools(body), wraps=False)
    text = reading.optional_object(body, "text") or {}
    thought = reading.optional_object(body, "reasoning") or {}
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
        response_format=read_format(
            reading.optional_object(text, "format", "text."), "text.format.", wraps=False
        ),
        effort=read_effort(thought, "effort", "reasoning."),
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
