"""ChatRequest -> the body that an OpenAI-compatible upstream is sent."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from chat.errors import Rejected
from chat.request import (
    ChatRequest,
    Effort,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from dialects.openai import OpenAiDialect, OpenAiQuirks

HI = (Message("user", (Text("hi"),)),)
WEATHER = Tool("weather", "d", {"type": "object", "properties": {"city": {"type": "string"}}})
CLOCK = Tool("clock")


def built(
    messages: tuple[Message, ...] = HI, quirks: OpenAiQuirks | None = None, **more: Any
) -> Any:
    request = ChatRequest(model="auto", messages=messages, **more)
    return OpenAiDialect(quirks).build_request(request, "m1")


def said(*parts: Part, role: Role = "user", quirks: OpenAiQuirks | None = None) -> Any:
    return built((Message(role, parts),), quirks)["messages"]


def test_the_least_request_says_nothing_that_was_not_asked() -> None:
    assert built() == {"model": "m1", "messages": [{"role": "user", "content": "hi"}]}


def test_a_stream_always_asks_for_usage_unless_the_host_cannot() -> None:
    body = built(stream=True, include_usage=False)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    body = built(stream=True, quirks=OpenAiQuirks(send_stream_options=False))
    assert "stream_options" not in body


def test_the_system_may_be_called_developer() -> None:
    parts = (Text("a"), Text("b"))
    assert said(*parts, role="system") == [{"role": "system", "content": "a\n\nb"}]
    quirks = OpenAiQuirks(developer_role=True)
    assert said(Text("a"), role="system", quirks=quirks) == [{"role": "developer", "content": "a"}]


def test_several_parts_stay_parts() -> None:
    assert said(Text(" a"), Text("b\n")) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": " a"}, {"type": "text", "text": "b\n"}],
        }
    ]


def test_empty_content_is_allowed() -> None:
    assert said() == said(Text("")) == [{"role": "user", "content": ""}]
    assert said(Text("", {"block": {}}), Text("a")) == [{"role": "user", "content": "a"}]
    assert said(role="assistant") == [{"role": "assistant", "content": ""}]
    assert said(role="system") == [{"role": "system", "content": ""}]


def test_the_name_of_a_speaker_is_kept() -> None:
    body = built((Message("user", (Text("hi"),), name="Ann"),))
    assert body["messages"] == [{"role": "user", "content": "hi", "name": "Ann"}]


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (Image("image/png", "AAAA", detail="low"), ("data:image/png;base64,AAAA", "low")),
        (Image(url="https://x.test/a.jpg"), ("https://x.test/a.jpg", None)),
        (Image(None, "/9j/4AAQ"), ("data:image/jpeg;base64,/9j/4AAQ", None)),
        (Image(None, "iVBORw0KGgoA"), ("data:image/png;base64,iVBORw0KGgoA", None)),
        (Image(None, "R0lGODlh"), ("data:image/gif;base64,R0lGODlh", None)),
        (Image(None, "UklGRgAAAABXRUJQ"), ("data:image/webp;base64,UklGRgAAAABXRUJQ", None)),
        (Image(None, "AAAA"), ("data:image/png;base64,AAAA", None)),
    ],
)
def test_images_are_urls(image: Image, shown: tuple[str, str | None]) -> None:
    url, detail = shown
    expected = {"url": url} if detail is None else {"url": url, "detail": detail}
    assert said(Text("what"), image)[0]["content"][1] == {
        "type": "image_url",
        "image_url": expected,
    }


def test_documents_and_sounds_are_parts_of_their_own() -> None:
    content = said(
        File("document", "application/pdf", "AAAA", name="a.pdf"),
        File("document", "application/pdf", "AAAA"),
        File("document", opaque={"dialect": "openai", "file_id": "file-1"}),
        File("audio", "audio/mpeg", "AAAA"),
        File("audio", "audio/wav", "AAAA"),
    )[0]["content"]
    data = "data:application/pdf;base64,AAAA"
    assert content == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": data}},
        {"type": "file", "file": {"filename": "document.pdf", "file_data": data}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("user", File("document", url="https://x.test/a.pdf")),
        ("user", File("document", opaque={"dialect": "anthropic", "file_id": "f"})),
        ("user", File("audio", "audio/flac", "AAAA")),
        ("user", File("audio", url="https://x.test/a.wav")),
        ("user", Image()),
        ("user", ToolCall("c", "f", "{}")),
        ("assistant", Image("image/png", "AAAA")),
        ("system", Image("image/png", "AAAA")),
    ],
)
def test_what_cannot_be_said_is_refused_and_the_next_target_asked(role: Role, part: Part) -> None:
    with pytest.raises(Rejected) as caught:
        said(Text("a"), part, role=role)
    assert caught.value.fallback
    assert not caught.value.retryable


ROUND = (
    Message("user", (Text("hi"),)),
    Message(
        "assistant",
        (
            Reasoning("hm", "sig"),
            Text("Let me "),
            Text("see."),
            ToolCall("c1", "weather", '{"city":"x"}', "sig"),
            ToolCall("c2", "clock", ""),
        ),
    ),
)


def test_calls_follow_the_text_and_thoughts_stay_behind() -> None:
    assert built(ROUND)["messages"][1] == {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"x"}'},
            },
            {"id": "c2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
        ],
    }
    quirks = OpenAiQuirks(reasoning_history=True)
    assert built(ROUND, quirks)["messages"][1]["reasoning_content"] == "hm"


def test_calls_without_text_have_null_content() -> None:
    message = said(ToolCall("c", "f", "{}"), role="assistant")[0]
    assert message["content"] is None


def test_each_result_is_a_tool_message_and_what_follows_is_the_users() -> None:
    one = ToolResult("c1", (Text("sun"), Text("ny")), name="weather")
    two = ToolResult("c2", (Text("12:00"),), is_error=True)
    after = [{"role": "user", "content": "and?"}]
    results = [
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": "12:00"},
    ]
    together = (*ROUND, Message("user", (one, two, Text("and?"))))
    assert built(together)["messages"][2:] == results + after
    apart = (
        *ROUND,
        Message("tool", (one,)),
        Message("tool", (two,)),
        Message("user", (Text("and?"),)),
    )
    assert built(apart)["messages"][2:] == results + after


def test_images_of_results_wait_until_the_last_tool_message() -> None:
    image = Image("image/png", "AAAA")
    messages = (
        *ROUND,
        Message("tool", (ToolResult("c1", (image,)),)),
        Message("tool", (ToolResult("c2", (Text("see"), image)),)),
        Message("assistant", (Text("ok"),)),
    )
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    expected = [
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": "The result is in the images of the next user message.",
        },
        {"role": "tool", "tool_call_id": "c2", "content": "see"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Images of tool result c1:"},
                url,
                {"type": "text", "text": "Images of tool result c2:"},
                url,
            ],
        },
        {"role": "assistant", "content": "ok"},
    ]
    assert built(messages)["messages"][2:] == expected
    assert built(messages[:-1])["messages"][2:] == expected[:-1]


ALL = Sampling(
    temperature=0.0,
    top_p=0.5,
    top_k=5,
    min_p=0.1,
    max_tokens=9,
    stop=("x", "y"),
    seed=0,
    presence_penalty=0.0,
    frequency_penalty=-1.0,
)


def test_sampling_is_passed_on_and_zero_is_not_absent() -> None:
    body = built(sampling=ALL)
    del body["model"], body["messages"]
    assert body == {
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 9,
        "stop": ["x", "y"],
        "seed": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": -1.0,
    }


def test_quirks_name_the_fields_that_a_host_knows() -> None:
    quirks = OpenAiQuirks(
        max_tokens_field="max_completion_tokens", top_k=True, reasoning_effort=False
    )
    body = built(sampling=ALL, quirks=quirks, effort="low")
    assert (body["max_completion_tokens"], body["top_k"], body["min_p"]) == (9, 5, 0.1)
    assert "max_tokens" not in body
    assert "reasoning_effort" not in body


def test_tools_have_a_schema_also_when_they_take_nothing() -> None:
    body = built(tools=(WEATHER, Tool("clock", strict=True)), parallel_tool_calls=False)
    assert body["parallel_tool_calls"] is False
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "d",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        },
        {
            "type": "function",
            "function": {
                "name": "clock",
                "parameters": {"type": "object", "properties": {}},
                "strict": True,
            },
        },
    ]


def test_without_tools_there_is_no_choice_of_tools() -> None:
    body = built(tool_choice=ToolChoice("auto"), parallel_tool_calls=True)
    assert body.keys() == {"model", "messages"}


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (
            ToolChoice("named", ("clock",)),
            {"type": "function", "function": {"name": "clock"}},
        ),
    ],
)
def test_the_choice_of_tools_is_passed_on(choice: ToolChoice, written: Any) -> None:
    body = built(tools=(WEATHER, CLOCK), tool_choice=choice)
    assert body["tool_choice"] == written
    assert len(body["tools"]) == 2


def test_several_named_tools_are_the_only_ones_and_one_is_required() -> None:
    choice = ToolChoice("named", ("clock", "weather"))
    body = built(tools=(WEATHER, CLOCK, Tool("other")), tool_choice=choice)
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather", "clock"]


def test_a_schema_has_a_name_that_openai_takes() -> None:
    schema = {"type": "object", "properties": {}}
    wanted = ResponseFormat("json_schema", "My Out!", schema, True, "d")
    assert built(response_format=wanted)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "My_Out_", "schema": schema, "strict": True, "description": "d"},
    }
    wanted = ResponseFormat("json_schema", schema=schema)
    assert built(response_format=wanted)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": schema},
    }


def test_text_needs_no_format() -> None:
    assert "response_format" not in built(response_format=ResponseFormat("text"))


def test_json_without_a_schema_is_asked_for_in_words_too() -> None:
    wanted = ResponseFormat("json_object")
    body = built(response_format=wanted)
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0] == {"role": "system", "content": "Answer with one JSON object."}
    for parts in ((Text("Give me JSON"),), (Text("a"), Text("as json"))):
        body = built((Message("user", parts),), response_format=wanted)
        assert len(body["messages"]) == 1


@pytest.mark.parametrize("effort", get_args(Effort))
def test_effort_is_passed_on(effort: Effort) -> None:
    assert built(effort=effort)["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(0, "none"), (1024, "low"), (4096, "medium"), (16384, "high"), (-1, None), (None, None)],
)
def test_a_budget_of_thought_is_an_effort(budget: int | None, effort: str | None) -> None:
    assert built(thinking_budget=budget).get("reasoning_effort") == effort
    assert built(thinking_budget=budget, effort="max")["reasoning_effort"] == "max"


def test_the_user_is_passed_on() -> None:
    assert built(user="u1")["user"] == "u1"


def test_unknown_fields_go_to_their_own_dialect_only_and_replace_nothing() -> None:
    fields = {"logit_bias": {"1": 2}, "model": "other", "messages": []}
    body = built(extra={"dialect": "openai", "fields": fields})
    assert body["logit_bias"] == {"1": 2}
    assert (body["model"], len(body["messages"])) == ("m1", 1)
    assert "logit_bias" not in built(extra={"dialect": "ollama", "fields": fields})
