"""The bodies that the SDKs send -> ChatRequest, and back to an upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chat.request import (
    ChatRequest,
    Image,
    Message,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects.openai import OpenAiDialect, OpenAiQuirks
from tests.dialects.openai_bodies import CALLED, CITY, HI, WEATHER

DIALECT = OpenAiDialect()
BRIEF = {"role": "system", "content": "be brief"}
SCHEMA = {
    "properties": {
        "a": {"title": "A", "type": "integer"},
        "name": {"title": "Name", "type": "string"},
    },
    "required": ["a", "name"],
    "title": "Out",
    "type": "object",
    "additionalProperties": False,
}
OUT = {
    "type": "json_schema",
    "json_schema": {"schema": SCHEMA, "name": "Out", "strict": True},
}

SYSTEM = Message("system", (Text("be brief"),))
USER = Message("user", (Text("hi"),))
TOOL = Tool("get_weather", "d", CITY)
FORMAT = ResponseFormat("json_schema", "Out", SCHEMA, True)

# The bodies are those that the SDKs were seen to send.
CAPTURED: dict[str, tuple[dict[str, Any], ChatRequest]] = {
    "openai py 2.54 create": (
        {"messages": [BRIEF, HI], "model": "m1"},
        ChatRequest("m1", (SYSTEM, USER)),
    ),
    "openai py 2.54 stream with usage": (
        {
            "messages": [BRIEF, HI],
            "model": "m1",
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        ChatRequest("m1", (SYSTEM, USER), stream=True, include_usage=True),
    ),
    "openai py 2.54 tools": (
        {
            "messages": [BRIEF, HI],
            "model": "m1",
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [WEATHER],
        },
        ChatRequest(
            "m1",
            (SYSTEM, USER),
            tools=(TOOL,),
            tool_choice=ToolChoice("auto"),
            parallel_tool_calls=False,
        ),
    ),
    "openai py 2.54 parse": (
        {"messages": [BRIEF, HI], "model": "m1", "response_format": OUT, "stream": False},
        ChatRequest("m1", (SYSTEM, USER), response_format=FORMAT),
    ),
    "openai py 2.54 stream helper": (
        {"messages": [BRIEF, HI], "model": "m1", "response_format": OUT, "stream": True},
        ChatRequest("m1", (SYSTEM, USER), response_format=FORMAT, stream=True, include_usage=False),
    ),
    "openai py 2.54 image": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what"},
                        {
                            "type": "image_url",
                            "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
                        },
                    ],
                }
            ],
            "model": "m1",
            "max_completion_tokens": 10,
            "reasoning_effort": "low",
            "seed": 1,
            "stop": ["x"],
        },
        ChatRequest(
            "m1",
            (Message("user", (Text("what"), Image("image/png", "AAAA", detail="low"))),),
            sampling=Sampling(max_tokens=10, seed=1, stop=("x",)),
            effort="low",
        ),
    ),
    "openai py 2.54 tool result": (
        {
            "messages": [
                BRIEF,
                HI,
                CALLED,
                {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            ],
            "model": "m1",
            "tools": [WEATHER],
        },
        ChatRequest(
            "m1",
            (
                SYSTEM,
                USER,
                Message("assistant", (ToolCall("call_1", "get_weather", '{"city":"x"}'),)),
                Message("tool", (ToolResult("call_1", (Text("sunny"),), "get_weather"),)),
            ),
            tools=(TOOL,),
        ),
    ),
    "openai py 3.52 stream": (
        {"model": "m1", "stream": True, "messages": [HI]},
        ChatRequest("m1", (USER,), stream=True, include_usage=False),
    ),
    "langchain tools": (
        {"model": "m1", "stream": False, "messages": [HI], "tools": [WEATHER]},
        ChatRequest("m1", (USER,), tools=(TOOL,)),
    ),
    "openai js stream": (
        {"model": "m1", "messages": [HI], "stream": True},
        ChatRequest("m1", (USER,), stream=True, include_usage=False),
    ),
    "ai sdk compatible object": (
        {"model": "m1", "response_format": {"type": "json_object"}, "messages": [HI]},
        ChatRequest("m1", (USER,), response_format=ResponseFormat("json_object")),
    ),
    "ai sdk chat object": (
        {
            "model": "m1",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": SCHEMA, "strict": True, "name": "response"},
            },
            "messages": [HI],
        },
        ChatRequest(
            "m1",
            (USER,),
            response_format=ResponseFormat("json_schema", "response", SCHEMA, True),
        ),
    ),
    "copilot": (
        {
            "messages": [BRIEF, HI],
            "model": "m1",
            "temperature": 0.1,
            "top_p": 1,
            "stream": True,
            "stream_options": {"include_usage": True},
            "n": 1,
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
                }
            ],
            "tool_choice": "auto",
        },
        ChatRequest(
            "m1",
            (SYSTEM, USER),
            stream=True,
            sampling=Sampling(temperature=0.1, top_p=1.0),
            tools=(Tool("f", None, {"type": "object", "properties": {}}),),
            tool_choice=ToolChoice("auto"),
        ),
    ),
}


@pytest.mark.parametrize(("body", "expected"), CAPTURED.values(), ids=CAPTURED.keys())
def test_what_the_sdks_send_is_understood(body: dict[str, Any], expected: ChatRequest) -> None:
    before = json.dumps(body)
    assert DIALECT.parse_request(body) == expected
    assert json.dumps(body) == before


@pytest.mark.parametrize("body", [b for b, _ in CAPTURED.values()], ids=CAPTURED.keys())
def test_what_the_sdks_send_is_built_again_for_openai(body: dict[str, Any]) -> None:
    quirks = OpenAiQuirks(max_tokens_field="max_completion_tokens", send_stream_options=False)
    built = OpenAiDialect(quirks).build_request(DIALECT.parse_request(body), body["model"])
    sent = {field: value for field, value in body.items() if field not in ("n", "stream_options")}
    if not sent.get("stream"):
        sent.pop("stream", None)
    if sent.get("response_format") == {"type": "json_object"}:
        assert built["messages"].pop(0)["role"] == "system"
    assert built == sent
