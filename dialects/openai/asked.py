"""The body of POST /v1/chat/completions -> ChatRequest (PROTOCOLS 2.1)."""

from __future__ import annotations

from collections.abc import Mapping

from chat.request import (
    ChatRequest,
    Json,
    Message,
    Sampling,
    Tool,
)
from dialects import reading
from dialects.openai.messages import read_messages
from dialects.openai.wishes import read_choice, read_effort, read_format
from dialects.reading import bad

_WISHES = frozenset(
    {
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
    }
)
_NO_WISHES = Sampling()
"""Most callers have none: one look instead of eleven calls."""
_SELDOM = frozenset(
    {
        "n",
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
_KNOWN = _WISHES | _SELDOM | {"model", "messages", "stream", "stream_options"}


def parse_request(body: Json) -> ChatRequest:
    body = reading.body_object(body)
    model = body.get("model")
    if not isinstance(model, str) or not model.strip():
        model = reading.filled_text(body, "model")
    messages = _messages(body)
    stream, wanted = body.get("stream", False), False
    if stream is not True and stream is not False:
        stream = reading.flag(body, "stream") or False
    if "stream_options" in body:
        options = reading.optional_object(body, "stream_options") or {}
        wanted = reading.flag(options, "include_usage", "stream_options.") or False
    if _SELDOM.isdisjoint(body):
        # Nearly all questions: what is not there need not be read.
        return ChatRequest(
            model=model,
            messages=messages,
            stream=stream,
            sampling=_sampling(body),
            include_usage=wanted or not stream,
            extra=_extra(body),
        )
    for retired in ("functions", "function_call"):
        if body.get(retired):
            bad(retired, "is the retired form; use tools and tool_choice.")
    count = reading.integer(body, "n", low=1)
    if count is not None and count > 1:
        bad("n", f"must be 1, not {count}: one request has one answer here.")
    tools, choice = read_choice(body, _tools(body), wraps=True)
    return ChatRequest(
        model=model,
        messages=messages,
        stream=stream,
        sampling=_sampling(body),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=reading.flag(body, "parallel_tool_calls"),
        response_format=read_format(
            reading.optional_object(body, "response_format"), "response_format.", wraps=True
        ),
        effort=read_effort(body, "reasoning_effort"),
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
    if _WISHES.isdisjoint(body):
        return _NO_WISHES
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
    if body.get("tools") is None:
        return ()
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


def _extra(body: Mapping[str, Json]) -> Mapping[str, Json]:
    if body.keys() <= _KNOWN:
        return {}
    fields = {field: value for field, value in body.items() if field not in _KNOWN}
    return {"dialect": "openai", "fields": fields}
