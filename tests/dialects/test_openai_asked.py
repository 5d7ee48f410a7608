"""Bodies of callers -> ChatRequest, with errors that name the field."""

from __future__ import annotations

from typing import Any

import pytest

from chat.request import (
    ChatRequest,
    File,
    Image,
    Message,
    Reasoning,
    Sampling,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects.openai import OpenAiDialect
from tests.dialects.openai_bodies import CALLED, HI, WEATHER

DIALECT = OpenAiDialect()


def asked(*messages: Any, **more: Any) -> ChatRequest:
    return DIALECT.parse_request({"model": "m1", "messages": list(messages) or [HI], **more})


def test_the_developer_is_the_system() -> None:
    assert asked({"role": "developer", "content": "x", "name": "n"}).messages == (
        Message("system", (Text("x"),), "n"),
    )


def test_an_assistants_turn_keeps_thought_text_and_calls() -> None:
    turn = {
        "role": "assistant",
        "content": [{"type": "text", "text": " a"}, {"type": "refusal", "refusal": "no"}],
        "refusal": "never",
        "reasoning_content": "hm",
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"é": 1}}}],
    }
    assert asked(HI, turn).messages[1] == Message(
        "assistant",
        (
            Reasoning("hm"),
            Text(" a"),
            Text("no"),
            Text("never"),
            ToolCall("c", "f", '{"é":1}'),
        ),
    )


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "assistant"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": [], "tool_calls": []},
    ],
)
def test_an_empty_turn_of_the_assistant_is_allowed(turn: dict[str, Any]) -> None:
    assert asked(HI, turn).messages[1] == Message("assistant", ())


def test_the_content_of_a_tool_message_may_be_parts_with_images() -> None:
    result = {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": "data:image/PNG;base64,AAAA"},
        ],
    }
    (found,) = asked(HI, CALLED, result).messages[2].parts
    image = Image("image/png", "AAAA")
    assert found == ToolResult("call_1", (Text("see"), image), "get_weather")


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
            Image(url="https://x.test/a.png"),
        ),
        (
            {"type": "image_url", "image_url": "data:image/jpg;base64,AAAA"},
            Image("image/jpeg", "AAAA"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/webp;x=y;base64,AA=="}},
            Image("image/webp", "AA=="),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            File("audio", "audio/mpeg", "AAAA"),
        ),
        (
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
            },
            File("document", "application/pdf", "AAAA", name="a.pdf"),
        ),
        (
            {"type": "file", "file": {"file_id": "file-1"}},
            File("document", opaque={"dialect": "openai", "file_id": "file-1"}),
        ),
        (
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            Text("a", {"cache_control": {"type": "ephemeral"}}),
        ),
    ],
)
def test_parts_of_a_user_are_understood(part: dict[str, Any], expected: Any) -> None:
    assert asked({"role": "user", "content": [part]}).messages[0].parts == (expected,)


def test_the_newer_limit_supersedes_the_older() -> None:
    assert asked(max_tokens=5).sampling.max_tokens == 5
    assert asked(max_tokens=5, max_completion_tokens=7).sampling.max_tokens == 7


def test_sampling_is_read_and_absent_is_not_zero() -> None:
    assert asked().sampling == Sampling()
    assert asked(
        temperature=0,
        top_p=0.5,
        top_k=5,
        min_p=0.1,
        seed=3.0,
        stop="x",
        presence_penalty=0,
        frequency_penalty=-2,
    ).sampling == Sampling(0.0, 0.5, 5, 0.1, None, ("x",), 3, 0.0, -2.0)
    assert asked(stop=None, temperature=None, max_tokens=None).sampling == Sampling()


def test_allowed_tools_are_the_only_ones() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b", "c")]
    allowed = [{"type": "function", "function": {"name": name}} for name in ("c", "a")]
    for mode in ("auto", "required"):
        choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}
        request = asked(tools=tools, tool_choice=choice)
        assert [tool.name for tool in request.tools] == ["a", "c"]
        assert request.tool_choice is not None
        assert request.tool_choice.mode == mode


def test_a_named_tool_is_chosen() -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    request = asked(tools=[WEATHER], tool_choice=choice)
    assert request.tool_choice == ToolChoice("named", ("get_weather",))


def test_unknown_fields_ride_along_to_the_same_dialect() -> None:
    request = asked(logit_bias={"1": 2}, chat_template_kwargs={"x": 1}, user="u")
    assert request.extra == {
        "dialect": "openai",
        "fields": {"logit_bias": {"1": 2}, "chat_template_kwargs": {"x": 1}},
    }
    assert request.user == "u"
    built = DIALECT.build_request(request, "m2")
    assert built["chat_template_kwargs"] == {"x": 1}
    assert asked().extra == {}
