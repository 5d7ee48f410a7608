"""ChatRequest -> Anthropic's body, by the mapping tables of PROTOCOLS 6."""

from __future__ import annotations

import pytest

from chat.request import (
    ChatRequest,
    Json,
    Message,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects.anthropic import AnthropicDialect
from tests.dialects.anthropic_turns import MODEL, build, said

WEATHER = Tool("weather", "Tells it.", {"type": "object", "properties": {"city": {}}})


def test_the_least_request_names_its_model_and_max_tokens() -> None:
    assert build(said("user", "hi")) == {
        "model": MODEL,
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hi"}],
    }
    asked = ChatRequest("auto", (said("user", "hi"),))
    assert AnthropicDialect(default_max_tokens=9).build_request(asked, MODEL)["max_tokens"] == 9


def test_sampling_is_clamped_and_what_anthropic_lacks_is_left_out() -> None:
    sampling = Sampling(
        temperature=1.7,
        top_p=0.5,
        top_k=40,
        min_p=0.1,
        max_tokens=7,
        stop=("END", " \n", ""),
        seed=1,
        presence_penalty=1,
        frequency_penalty=1,
    )
    assert build(said("user", "hi"), sampling=sampling, stream=True, user="u1") == {
        "model": MODEL,
        "max_tokens": 7,
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "temperature": 1.0,
        "top_k": 40,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u1"},
    }
    assert build(said("user", "hi"), sampling=Sampling(top_p=0.5))["top_p"] == 0.5


def test_tools_carry_a_schema_of_an_object() -> None:
    strict = Tool("g", parameters={"properties": {}}, strict=True, opaque={"defer_loading": True})
    assert build(said("user", "x"), tools=(WEATHER, Tool("f", strict=False), strict))["tools"] == [
        {
            "name": "weather",
            "description": "Tells it.",
            "input_schema": {"type": "object", "properties": {"city": {}}},
        },
        {"name": "f", "input_schema": {"type": "object", "properties": {}}},
        {
            "name": "g",
            "input_schema": {"type": "object", "properties": {}},
            "strict": True,
            "defer_loading": True,
        },
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "wire"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), None, {"type": "auto"}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("required"), None, {"type": "any"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("named", ("weather",)), None, {"type": "tool", "name": "weather"}),
    ],
)
def test_a_choice_of_tools_is_told(
    choice: ToolChoice | None, parallel: bool | None, wire: Json
) -> None:
    body = build(
        said("user", "x"), tools=(WEATHER,), tool_choice=choice, parallel_tool_calls=parallel
    )
    assert body.get("tool_choice") == wire
    assert "tool_choice" not in build(said("user", "x"), tool_choice=choice)


def test_a_choice_of_several_names_offers_only_these() -> None:
    tools = (WEATHER, Tool("f"), Tool("g"))
    choice = ToolChoice("named", ("f", "g"))
    body = build(said("user", "x"), tools=tools, tool_choice=choice)
    assert [tool["name"] for tool in body["tools"]] == ["f", "g"]
    assert body["tool_choice"] == {"type": "any"}


def test_a_history_of_calls_without_tools_names_them_and_forbids_them() -> None:
    body = build(
        said("user", "x"),
        said("assistant", ToolCall("a", "f", "{}")),
        said("tool", ToolResult("a", (Text("1"),))),
    )
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


def test_a_schema_becomes_output_config_and_loses_what_anthropic_refuses() -> None:
    schema = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1, "description": "how many"},
            "list": {"type": "array", "items": {"$ref": "#/$defs/x"}, "minItems": 2},
            "one": {"oneOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "code": {"type": "string", "format": "zip", "maxLength": 5},
        },
        "required": ["minimum"],
        "$defs": {"x": {"type": "object", "properties": {}, "additionalProperties": True}},
    }
    wanted = ResponseFormat("json_schema", "out", schema, strict=True, description="a form")
    assert build(said("user", "x"), response_format=wanted, effort="low")["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {
                    "minimum": {"type": "integer", "description": "how many\n\n{minimum: 1}"},
                    "list": {
                        "type": "array",
                        "items": {"$ref": "#/$defs/x"},
                        "description": "{minItems: 2}",
                    },
                    "one": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
                    "code": {"type": "string", "description": "{format: zip, maxLength: 5}"},
                },
                "required": ["minimum"],
                "$defs": {"x": {"type": "object", "properties": {}, "additionalProperties": False}},
                "additionalProperties": False,
                "description": "a form",
            },
        },
    }


def test_a_schema_that_fits_stays_as_it_is() -> None:
    schema = {
        "type": "object",
        "title": "Out",
        "properties": {"a": {"type": "integer", "title": "A"}},
        "additionalProperties": False,
        "required": ["a"],
    }
    body = build(said("user", "x"), response_format=ResponseFormat("json_schema", None, schema))
    assert body["output_config"]["format"]["schema"] == schema


def test_json_without_a_schema_is_asked_for_in_words() -> None:
    wanted = ResponseFormat("json_object")
    words = "Answer with one JSON object and nothing else: no other words, no code fence."
    assert build(said("user", "x"), response_format=wanted)["system"] == words
    body = build(said("system", "be brief"), said("user", "x"), response_format=wanted)
    assert body["system"] == f"be brief\n\n{words}"
    mark = {"cache_control": {"type": "ephemeral"}}
    marked = build(Message("system", (Text("s", mark),)), said("user", "x"), response_format=wanted)
    assert marked["system"] == [
        {"type": "text", "text": "s", **mark},
        {"type": "text", "text": words},
    ]
    assert "system" not in build(said("user", "x"), response_format=ResponseFormat("text"))


@pytest.mark.parametrize(
    ("more", "thinking", "effort"),
    [
        ({"effort": "none"}, None, None),
        ({"effort": "minimal"}, {"type": "adaptive"}, "low"),
        ({"effort": "max"}, {"type": "adaptive"}, "max"),
        ({"thinking_budget": 100}, {"type": "enabled", "budget_tokens": 1024}, None),
        (
            {"thinking_budget": 5000, "effort": "high"},
            {"type": "enabled", "budget_tokens": 5000},
            "high",
        ),
        (
            {"effort": "low", "include_thoughts": True},
            {"type": "adaptive", "display": "summarized"},
            "low",
        ),
        (
            {"effort": "low", "include_thoughts": False},
            {"type": "adaptive", "display": "omitted"},
            "low",
        ),
        ({"include_thoughts": True}, None, None),
        ({"thinking_budget": 0}, None, None),
        ({"thinking_budget": -1}, {"type": "adaptive"}, None),
    ],
)
def test_effort_and_budget_become_thinking(
    more: dict[str, Json], thinking: Json, effort: str | None
) -> None:
    body = build(said("user", "x"), **more)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


def test_unknown_fields_of_an_anthropic_caller_go_on_and_those_of_others_do_not() -> None:
    fields = {"service_tier": "auto", "max_tokens": 1, "output_config": {"effort": "low", "x": 1}}
    tool = {"type": "web_search_20250305", "name": "web_search"}
    extra = {"dialect": "anthropic", "fields": fields, "tools": [tool]}
    body = build(said("user", "x"), effort="high", extra=extra)
    assert body["service_tier"] == "auto"
    assert body["max_tokens"] == 4096 + 16384
    assert body["output_config"] == {"effort": "high", "x": 1}
    assert body["tools"] == [tool]
    other = build(said("user", "x"), extra={**extra, "dialect": "openai"})
    assert other.keys() == {"model", "max_tokens", "messages"}
