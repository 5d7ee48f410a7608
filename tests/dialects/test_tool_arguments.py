"""Arguments of tool calls mean the same in every language, whatever they are."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from chat.errors import BadRequest, Broken
from chat.events import Finish, Start, StreamEvent, ToolCallDelta
from chat.fold import fold
from chat.request import ChatRequest, Message, Text, ToolCall
from chat.trace import Trace
from dialects.anthropic import AnthropicDialect
from dialects.arguments import RAW, as_object, as_text
from dialects.base import RelayDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect
from dialects.openai import OpenAiDialect

OBJECTS: tuple[RelayDialect, ...] = (AnthropicDialect(), GeminiDialect(), OllamaDialect())
"""Those whose wire wants an object; OpenAI's carries the text as it is."""
DIALECTS: tuple[RelayDialect, ...] = (*OBJECTS, OpenAiDialect())
DEEP = '{"a":' * 300 + "1" + "}" * 300
ASKED = ChatRequest("m", (Message("user", (Text("x"),)),))


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("dialect", OBJECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("text", ["{not json", "[1]", '"x"', "3", DEEP])
def test_what_is_no_object_is_kept_whole_under_one_name(dialect: RelayDialect, text: str) -> None:
    kept = orjson.dumps({"_raw": text})
    call = Message("assistant", (ToolCall("c", "f", text),))
    request = ChatRequest("m", (*ASKED.messages, call, *ASKED.messages))
    assert kept in orjson.dumps(dialect.build_request(request, "some-model"))
    events: list[StreamEvent] = [
        Start(),
        ToolCallDelta(0, "c", "f", text),
        Finish("tool_calls"),
    ]
    whole = dialect.render_response(ASKED, fold(events), Trace("r"), lambda: 0.0)
    assert kept in orjson.dumps(whole)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("text", ["", " ", "{}", '{"a":1}', "[1]", DEEP])
def test_any_arguments_can_be_sent_on(dialect: RelayDialect, text: str) -> None:
    call = Message("assistant", (ToolCall("c", "f", text),))
    request = ChatRequest("m", (*ASKED.messages, call, *ASKED.messages))
    orjson.dumps(dialect.build_request(request, "gemini-3-pro"))


@pytest.mark.parametrize("levels", [1, 150, 199, 200, 201, 249, 250, 251, 254, 300])
def test_an_object_that_passes_can_be_written_deep_inside_of_a_body(levels: int) -> None:
    found = as_object('{"a":' * levels + "1" + "}" * levels)
    assert (RAW in found) == (levels > 200)
    body: Any = found
    for _ in range(50):
        body = [body]
    orjson.dumps(body)


def test_a_callers_arguments_nested_too_deep_are_a_bad_request() -> None:
    deep = nested(300)
    call = {"function": {"name": "f", "arguments": deep}, "id": "c"}
    block = {"type": "tool_use", "id": "c", "name": "f", "input": deep}
    part = {"functionCall": {"name": "f", "args": deep}}
    asked: dict[str, Any] = {
        "openai": {"messages": [{"role": "assistant", "tool_calls": [call]}]},
        "ollama": {"messages": [{"role": "assistant", "tool_calls": [call]}]},
        "anthropic": {"messages": [{"role": "assistant", "content": [block]}], "max_tokens": 1},
        "gemini": {"contents": [{"role": "model", "parts": [part]}]},
    }
    for dialect in DIALECTS:
        with pytest.raises(BadRequest, match="nested too deep") as caught:
            dialect.parse_request({"model": "m", **asked[dialect.name]})
        assert caught.value.param


def test_an_upstreams_arguments_nested_too_deep_are_a_broken_answer() -> None:
    deep = nested(300)
    call = {"function": {"name": "f", "arguments": deep}, "id": "c"}
    message = {"role": "assistant", "tool_calls": [call]}
    content = [{"type": "tool_use", "id": "c", "name": "f", "input": deep}]
    part = {"functionCall": {"name": "f", "args": deep}}
    answered: dict[str, Any] = {
        "openai": {"choices": [{"index": 0, "message": message}]},
        "ollama": {"message": message, "done": True},
        "anthropic": {"type": "message", "content": content, "stop_reason": "tool_use"},
        "gemini": {"candidates": [{"content": {"parts": [part]}}]},
    }
    for dialect in DIALECTS:
        with pytest.raises(Broken, match="nested too deep") as caught:
            dialect.parse_response(answered[dialect.name])
        assert caught.value.code == "malformed"


def test_arguments_of_an_upstream_are_text() -> None:
    assert [as_text(value) for value in (None, "", "{", {}, {"é": [1]})] == [
        "",
        "",
        "{",
        "{}",
        '{"é":[1]}',
    ]
