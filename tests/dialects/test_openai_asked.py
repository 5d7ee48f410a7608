"""Bodies of callers -> ChatRequest, with errors that name the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadRequest
from chat.request import (
    ChatRequest,
    File,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects.openai import OpenAiDialect, OpenAiQuirks

DIALECT = OpenAiDialect()
HI = {"role": "user", "content": "hi"}
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
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "d", "parameters": CITY},
}
OUT = {
    "type": "json_schema",
    "json_schema": {"schema": SCHEMA, "name": "Out", "strict": True},
}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city":"x"}'},
        }
    ],
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
