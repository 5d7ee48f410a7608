"""What an Ollama server is sent."""

from __future__ import annotations

from typing import Any

import pytest

from chat.errors import Rejected
from chat.events import Finish, Start, TextDelta
from chat.request import (
    ChatRequest,
    Effort,
    File,
    Image,
    Message,
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
from dialects.base import OutboundDialect
from dialects.ollama import OllamaDialect
from tests.dialects.cuts import check_every_cut

DIALECT: OutboundDialect = OllamaDialect()
HI = (Message("user", (Text("hi"),)),)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("get_weather", "Weather of a city.", SCHEMA)
CLOCK = Tool("now")


def built(messages: tuple[Message, ...] = HI, **fields: Any) -> dict[str, Any]:
    return DIALECT.build_request(ChatRequest("auto", messages, **fields), "llama3.2")


# The request.


def test_the_smallest_request() -> None:
    assert built() == {
        "model": "llama3.2",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
        "options": {"num_ctx": 4096},
    }
    assert built(stream=True)["stream"] is True


def test_a_whole_conversation_is_told() -> None:
    messages = (
        Message("system", (Text("Be brief."),)),
        Message("user", (Text("What is "), Text("this?"), Image("image/png", "AAEC"))),
        Message(
            "assistant",
            (
                Reasoning("Look first.", signature="c2ln"),
                Reasoning(redacted="opaque"),
                ToolCall("call_a", "get_weather", '{"city": "Köln"}'),
                ToolCall("call_b", "now", ""),
            ),
        ),
        Message("tool", (ToolResult("call_b", (Text("noon"),)),)),
        Message(
            "user",
            (
                Text("And?"),
                ToolResult("call_a", (Text("sunny"), Image("image/png", "AAED")), name="w"),
            ),
        ),
        Message("system", (Text("Answer in German."),)),
        Message("assistant", ()),
    )
    assert built(messages)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": ["AAEC"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Look first.",
            "tool_calls": [
                {
                    "id": "call_a",
                    "function": {"index": 0, "name": "get_weather", "arguments": {"city": "Köln"}},
                },
                {"id": "call_b", "function": {"index": 1, "name": "now", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "noon", "tool_name": "now", "tool_call_id": "call_b"},
        {
            "role": "tool",
            "content": "sunny",
            "images": ["AAED"],
            "tool_name": "w",
            "tool_call_id": "call_a",
        },
        {"role": "user", "content": "And?"},
        {"role": "system", "content": "Answer in German."},
        {"role": "assistant", "content": ""},
    ]


def test_what_ollama_cannot_read_may_go_to_another_target() -> None:
    url = Image(url="https://example.org/a.png")
    for part in (
        url,
        File("document", "application/pdf", "AAEC"),
        File("audio", "audio/wav", "AAEC"),
        ToolResult("c", (url,)),
    ):
        role: Role = "tool" if isinstance(part, ToolResult) else "user"
        with pytest.raises(Rejected) as caught:
            built((*HI, Message(role, (part,))))
        failure = caught.value
        assert (failure.fallback, failure.code) == (True, "unsupported_content")
        assert failure.param == "messages[1].content"
        assert failure.param in failure.message


def test_sampling_becomes_options_of_the_right_types() -> None:
    # What JSON gave may be 2.0 where Ollama insists on 2.
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        top_k=20,
        min_p=0.05,
        max_tokens=64.0,  # type: ignore[arg-type]
        stop=("END",),
        seed=7.0,  # type: ignore[arg-type]
        presence_penalty=0.1,
        frequency_penalty=0.2,
    )
    options = built(sampling=sampling)["options"]
    assert options == {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 20,
        "min_p": 0.05,
        "num_predict": 64,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "num_ctx": 4096,
    }
    assert type(options["num_predict"]) is int
    assert type(options["seed"]) is int


@pytest.mark.parametrize(
    ("characters", "max_tokens", "context"),
    [
        (10, None, 4096),
        (3 * (4096 - 1024), None, 4096),
        (3 * (4096 - 1024) + 1, None, 8192),
        (10, 8000, 8192),
        (10, 16384, 32768),
        (100_000, None, 65536),
        (300_000, None, 131072),
        (10_000_000, None, 131072),
    ],
)
def test_the_context_holds_the_prompt_and_the_answer(
    characters: int, max_tokens: int | None, context: int
) -> None:
    messages = (Message("user", (Text("x" * characters),)),)
    body = built(messages, sampling=Sampling(max_tokens=max_tokens))
    assert body["options"]["num_ctx"] == context


def test_tools_images_and_wide_scripts_count_into_the_context() -> None:
    big = Tool("f", "d" * 20_000)
    assert built(tools=(big,))["options"]["num_ctx"] == 8192
    pictures = tuple(Image("image/png", "AAEC") for _ in range(4))
    assert built((Message("user", pictures),))["options"]["num_ctx"] == 8192
    assert built((Message("user", (Text("語" * 4000),)),))["options"]["num_ctx"] == 8192


@pytest.mark.parametrize(
    ("most", "characters", "context"),
    [(2048, 10, 4096), (40960, 90_000, 32768), (40960, 200_000, 40960), (262144, 600_000, 262144)],
)
def test_the_largest_context_can_be_set(most: int, characters: int, context: int) -> None:
    request = ChatRequest("auto", (Message("user", (Text("x" * characters),)),))
    assert OllamaDialect(most).build_request(request, "m")["options"]["num_ctx"] == context


def test_tools_keep_the_shape_of_openai() -> None:
    body = built(tools=(WEATHER, CLOCK), tool_choice=ToolChoice("auto"))
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "Weather of a city.",
                "parameters": SCHEMA,
            },
        },
        {
            "type": "function",
            "function": {"name": "now", "parameters": {"type": "object", "properties": {}}},
        },
    ]
    assert body["messages"] == [{"role": "user", "content": "hi"}]


def test_tool_choice_none_drops_the_tools() -> None:
    body = built(tools=(WEATHER,), tool_choice=ToolChoice("none"))
    assert "tools" not in body
    assert body["messages"] == [{"role": "user", "content": "hi"}]


def test_tool_choice_required_adds_a_hint() -> None:
    body = built(tools=(WEATHER, CLOCK), tool_choice=ToolChoice("required"))
    assert len(body["tools"]) == 2
    assert body["messages"][0] == {
        "role": "system",
        "content": "You must call at least one of the tools get_weather, now."
        " Do not answer in plain text.",
    }
    assert body["messages"][1] == {"role": "user", "content": "hi"}


def test_tool_choice_named_shows_only_that_tool_and_adds_a_hint() -> None:
    messages = (Message("system", (Text("Be brief."),)), *HI)
    body = built(messages, tools=(WEATHER, CLOCK), tool_choice=ToolChoice("named", ("now",)))
    assert [tool["function"]["name"] for tool in body["tools"]] == ["now"]
    assert body["messages"][0] == {
        "role": "system",
        "content": "Be brief.\n\nYou must call the tool now. Do not answer in plain text.",
    }


def test_a_schema_becomes_the_format() -> None:
    body = built(response_format=ResponseFormat("json_schema", "Out", SCHEMA, strict=True))
    assert body["format"] == SCHEMA
    assert body["messages"][0] == {"role": "system", "content": "Answer with JSON only."}


def test_a_json_object_becomes_the_format_json() -> None:
    body = built(response_format=ResponseFormat("json_object"))
    assert body["format"] == "json"
    assert body["messages"][0] == {"role": "system", "content": "Answer with JSON only."}
    assert "format" not in built(response_format=ResponseFormat("text"))


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "max"),
        ("max", "max"),
    ],
)
def test_an_effort_becomes_think(effort: Effort, think: bool | str) -> None:
    assert built(effort=effort)["think"] == think


def test_think_is_left_out_unless_someone_asked() -> None:
    assert "think" not in built()
    assert "think" not in built(thinking_budget=4096)
    assert built(thinking_budget=0)["think"] is False


def test_what_a_caller_of_ollama_added_is_sent_on() -> None:
    fields = {
        "keep_alive": "5m",
        "model": "no",
        "options": {"repeat_penalty": 1.1, "num_ctx": 2048, "temperature": 9},
    }
    body = built(sampling=Sampling(temperature=0.5), extra={"dialect": "ollama", "fields": fields})
    assert body["keep_alive"] == "5m"
    assert body["model"] == "llama3.2"
    assert body["options"] == {"repeat_penalty": 1.1, "num_ctx": 2048, "temperature": 0.5}


def test_what_a_caller_of_another_dialect_added_is_not_sent_on() -> None:
    body = built(extra={"dialect": "openai", "fields": {"keep_alive": "5m"}})
    assert "keep_alive" not in body


def test_a_context_that_the_caller_chose_stays_under_the_largest() -> None:
    extra = {"dialect": "ollama", "fields": {"options": {"num_ctx": 10**9}}}
    assert built(extra=extra)["options"]["num_ctx"] == 131072


def test_a_stream_of_every_cut_gives_these_events() -> None:
    check_every_cut(
        DIALECT,
        '{"model":"m","message":{"content":"né👋"},"done":false}\n{"done":true}\n'.encode(),
        [Start(model="m"), TextDelta("né👋"), Finish("stop")],
    )
