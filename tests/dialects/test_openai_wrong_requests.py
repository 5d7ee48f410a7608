"""Bodies of callers that are wrong -> errors that name the field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadRequest
from dialects.openai import OpenAiDialect
from tests.dialects.openai_bodies import CALLED, HI

DIALECT = OpenAiDialect()


def image(url: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def called(**call: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [call]}


def tool(**function: Any) -> list[Any]:
    return [{"type": "function", "function": function}]


IMAGE = "messages[0].content[0].image_url.url"
DEEP: Any = {}
for _ in range(300):
    DEEP = {"x": DEEP}
WRONG: list[tuple[Any, str | None]] = [
    ([], None),
    ("text", None),
    (None, None),
    ({"messages": [HI]}, "model"),
    ({"model": " ", "messages": [HI]}, "model"),
    ({"model": 7, "messages": [HI]}, "model"),
    ({"model": "m"}, "messages"),
    ({"model": "m", "messages": None}, "messages"),
    ({"model": "m", "messages": []}, "messages"),
    ({"model": "m", "messages": {}}, "messages"),
    ({"model": "m", "messages": ["hi"]}, "messages[0]"),
    ([HI, {"content": "x"}], "messages[1].role"),
    ([{"role": "robot", "content": "x"}], "messages[0].role"),
    ([{"role": "function", "name": "f", "content": "x"}], "messages[0].role"),
    ([{"role": "user"}], "messages[0].content"),
    ([{"role": "system", "content": None}], "messages[0].content"),
    ([{"role": "user", "content": 7}], "messages[0].content"),
    ([user("x")], "messages[0].content[0]"),
    ([user({"type": "video", "video": "x"})], "messages[0].content[0].type"),
    ([user({"text": "x"})], "messages[0].content[0].type"),
    ([user({"type": "text"})], "messages[0].content[0].text"),
    ([{"role": "system", "content": image("x")["content"]}], "messages[0].content[0].type"),
    ([user({"type": "image_url"})], "messages[0].content[0].image_url"),
    ([user({"type": "image_url", "image_url": 7})], "messages[0].content[0].image_url"),
    ([user({"type": "image_url", "image_url": "ftp://x"})], "messages[0].content[0].image_url"),
    ([image(None)], IMAGE),
    ([image("file:///etc/passwd")], IMAGE),
    ([image("data:image/png,abc")], IMAGE),
    ([image("data:image/png;base64,")], IMAGE),
    ([image("data:image/png;base64,AAA")], IMAGE),
    ([image("data:image/png;base64,A*AA")], IMAGE),
    ([image("data:image/png;base64,é")], IMAGE),
    ([image("data:image/svg+xml;base64,AAAA")], IMAGE),
    ([image("data:;base64,AAAA")], IMAGE),
    ([user({"type": "input_audio"})], "messages[0].content[0].input_audio"),
    (
        [user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}})],
        "messages[0].content[0].input_audio.format",
    ),
    (
        [user({"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}})],
        "messages[0].content[0].input_audio.data",
    ),
    ([user({"type": "file"})], "messages[0].content[0].file"),
    ([user({"type": "file", "file": {}})], "messages[0].content[0].file.file_data"),
    (
        [user({"type": "file", "file": {"file_data": "AAAA"}})],
        "messages[0].content[0].file.file_data",
    ),
    ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
    (
        [CALLED, {"role": "tool", "tool_call_id": "call_2", "content": "x"}],
        "messages[1].tool_call_id",
    ),
    (
        [{"role": "tool", "tool_call_id": "call_1", "content": "x"}, CALLED],
        "messages[0].tool_call_id",
    ),
    ([CALLED, {"role": "tool", "tool_call_id": "call_1"}], "messages[1].content"),
    ([called(function={"name": "f"})], "messages[0].tool_calls[0].id"),
    ([called(id="", function={"name": "f"})], "messages[0].tool_calls[0].id"),
    ([called(id="c")], "messages[0].tool_calls[0].function"),
    ([called(id="c", function={})], "messages[0].tool_calls[0].function.name"),
    ([called(id="c", function={"name": ""})], "messages[0].tool_calls[0].function.name"),
    (
        [called(id="c", function={"name": "f", "arguments": 7})],
        "messages[0].tool_calls[0].function.arguments",
    ),
    (
        [called(id="c", function={"name": "f", "arguments": DEEP})],
        "messages[0].tool_calls[0].function.arguments",
    ),
    ([called(id="c", type="custom", custom={})], "messages[0].tool_calls[0].type"),
    ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls"),
    ([{"role": "assistant", "function_call": {"name": "f"}}], "messages[0].function_call"),
    ({"n": 2}, "n"),
    ({"n": 0}, "n"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": []}, "stream_options"),
    ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": -1}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"stop": [1]}, "stop"),
    ({"seed": "x"}, "seed"),
    ({"presence_penalty": 9}, "presence_penalty"),
    ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ({"user": 7}, "user"),
    ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"function_call": "auto"}, "function_call"),
    ({"tools": {}}, "tools"),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": tool()}, "tools[0].function.name"),
    ({"tools": tool(name="")}, "tools[0].function.name"),
    ({"tools": tool(name="f", parameters=[])}, "tools[0].function.parameters"),
    ({"tools": tool(name="f", strict=1)}, "tools[0].function.strict"),
    ({"tool_choice": "any"}, "tool_choice"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": 7}, "tool_choice"),
    ({"tool_choice": {"type": "custom"}}, "tool_choice.type"),
    ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
    (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        "tool_choice.function.name",
    ),
    ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
    (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}},
        "tool_choice.allowed_tools.mode",
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}},
        "tool_choice.allowed_tools.tools",
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": tool(name="f")}}},
        "tool_choice.allowed_tools.tools[0].function.name",
    ),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {}}, "response_format.type"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": []}}},
        "response_format.json_schema.schema",
    ),
]


def whole(wrong: Any) -> Any:
    """A list is the messages, an object without messages is what is beside them."""
    if isinstance(wrong, list) and wrong:
        return {"model": "m", "messages": wrong}
    if isinstance(wrong, dict) and not wrong.keys() & {"model", "messages"}:
        return {"model": "m", "messages": [HI], **wrong}
    return wrong


@pytest.mark.parametrize(("wrong", "param"), WRONG)
def test_an_error_names_the_field(wrong: Any, param: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        DIALECT.parse_request(whole(wrong))
    assert caught.value.param == param
    assert caught.value.status == 400
    if param is not None:
        assert caught.value.message.startswith(param + " ")


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
WORDS = st.sampled_from(
    ["user", "system", "assistant", "tool", "text", "image_url", "function", "file", "auto", "c"]
)
FIELDS = st.sampled_from(
    [
        "role", "content", "type", "text", "image_url", "url", "file", "input_audio", "function",
        "name", "arguments", "tool_calls", "id", "tool_call_id", "parameters", "json_schema",
        "schema", "allowed_tools", "tools", "mode", "file_data", "data", "format", "include_usage",
    ]
)  # fmt: skip
ANY = st.recursive(
    SCALAR | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)
TOP = st.sampled_from(
    [
        "messages", "model", "tools", "tool_choice", "response_format", "stream", "stop", "n",
        "stream_options", "temperature", "max_tokens", "seed", "reasoning_effort", "other",
    ]
)  # fmt: skip


@given(st.dictionaries(TOP, ANY, max_size=5), st.booleans())
def test_whatever_is_asked_is_a_request_or_a_bad_request(body: dict[str, Any], sound: bool) -> None:
    if sound:
        body |= {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    try:
        request = DIALECT.parse_request(body)
    except BadRequest as error:
        # A failure of a field says which.
        assert error.param  # noqa: PT017
        return
    DIALECT.build_request(request, "m")
