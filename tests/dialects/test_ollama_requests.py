"""What a caller of Ollama asks, read."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from chat.errors import BadRequest
from chat.request import (
    ChatRequest,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from dialects.base import InboundDialect
from dialects.ollama import OllamaDialect, OllamaGenerateDialect, load_reply
from tests.dialects.cuts import Recording, recordings
from tests.dialects.ollama_calls import function, pairs

CHAT: InboundDialect = OllamaDialect()
GENERATE: InboundDialect = OllamaGenerateDialect()
SCHEMA = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "d", "parameters": SCHEMA},
}
OUT = {
    "properties": {
        "a": {"title": "A", "type": "integer"},
        "name": {"title": "Name", "type": "string"},
    },
    "required": ["a", "name"],
    "title": "Out",
    "type": "object",
}
HI = {"role": "user", "content": "hi"}
ASKED = ChatRequest("m1", (Message("user", (Text("hi"),)),), stream=True)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
CASES = recordings("ollama")


def now() -> float:
    return 1767225600.123456


def parsed(**fields: Any) -> ChatRequest:
    return CHAT.parse_request({"model": "m1", "messages": [HI], **fields})


def conversation(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return parsed(messages=[HI, *messages]).messages[1:]


# Requests as the clients send them.


def test_the_python_client_asks_once() -> None:
    request = CHAT.parse_request({"model": "m1", "stream": False, "messages": [HI], "tools": []})
    assert request == replace(ASKED, stream=False)


def test_a_stream_is_the_default() -> None:
    assert CHAT.parse_request({"model": "m1", "messages": [HI]}) == ASKED
    assert CHAT.parse_request({"model": "m1", "stream": None, "messages": [HI]}) == ASKED
    assert CHAT.parse_request({"model": "m1", "stream": True, "messages": [HI]}) == ASKED


def test_the_python_client_sends_a_tool_result_without_an_id() -> None:
    request = CHAT.parse_request(
        {
            "model": "m1",
            "stream": False,
            "options": {"num_ctx": 4096, "temperature": 0},
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "tool_calls": [
                        {"function": {"name": "get_weather", "arguments": {"city": "x"}}}
                    ],
                },
                {"role": "tool", "content": "sunny", "tool_name": "get_weather"},
            ],
            "tools": [WEATHER],
        }
    )
    call = request.messages[1].parts[0]
    assert isinstance(call, ToolCall)
    assert call.id.startswith("call_")
    assert call == ToolCall(call.id, "get_weather", '{"city":"x"}')
    assert request == ChatRequest(
        "m1",
        (
            Message("user", (Text("hi"),)),
            Message("assistant", (call,)),
            Message("tool", (ToolResult(call.id, (Text("sunny"),), "get_weather"),)),
        ),
        sampling=Sampling(temperature=0),
        tools=(Tool("get_weather", "d", SCHEMA),),
        extra={"dialect": "ollama", "fields": {"options": {"num_ctx": 4096}}},
    )


def test_the_python_client_asks_for_a_schema_and_thoughts() -> None:
    request = CHAT.parse_request(
        {
            "model": "m1",
            "stream": False,
            "format": OUT,
            "messages": [HI],
            "tools": [],
            "think": True,
        }
    )
    assert request.response_format == ResponseFormat("json_schema", schema=OUT)
    assert request.effort == "medium"
    assert request.include_thoughts is True


def test_the_python_client_sends_an_image() -> None:
    message = {"role": "user", "content": "hi", "images": ["AAEC"]}
    (read,) = CHAT.parse_request({"model": "m1", "stream": False, "messages": [message]}).messages
    assert read.parts == (Text("hi"), Image("image/png", "AAEC"))


def test_langchain_sends_a_tool_result_without_id_and_name() -> None:
    request = CHAT.parse_request(
        {
            "model": "m1",
            "stream": True,
            "options": {},
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "gw", "arguments": {"city": "x"}}}],
                },
                {"role": "tool", "content": "sunny"},
            ],
            "tools": [],
        }
    )
    assert pairs(request.messages) == [("sunny", '{"city":"x"}')]
    assert request.extra == {}
    assert request.tools == ()


def test_the_clients_ask_generate() -> None:
    request = GENERATE.parse_request({"model": "m1", "stream": False, "prompt": "hi"})
    assert request == replace(ASKED, stream=False)
    assert GENERATE.parse_request({"model": "m1", "prompt": "hi"}) == ASKED


def test_generate_takes_a_system_prompt_images_and_the_same_extras() -> None:
    request = GENERATE.parse_request(
        {
            "model": "m1",
            "prompt": "hi",
            "system": "Be brief.",
            "images": [PNG],
            "format": "json",
            "think": False,
            "options": {"seed": 3, "stop": ["END"]},
            "raw": False,
            "context": [],
            "suffix": "",
            "keep_alive": "5m",
        }
    )
    assert request == ChatRequest(
        "m1",
        (
            Message("system", (Text("Be brief."),)),
            Message("user", (Text("hi"), Image("image/png", PNG))),
        ),
        stream=True,
        sampling=Sampling(seed=3, stop=("END",)),
        response_format=ResponseFormat("json_object"),
        effort="none",
        include_thoughts=False,
        extra={"dialect": "ollama", "fields": {"keep_alive": "5m"}},
    )


@pytest.mark.parametrize(
    ("field", "value"), [("suffix", "}"), ("template", "{{ .Prompt }}"), ("raw", True)]
)
def test_generate_refuses_what_a_chat_cannot_say(field: str, value: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        GENERATE.parse_request({"model": "m1", "prompt": "hi", field: value})
    assert caught.value.param == field


def test_generate_needs_a_prompt() -> None:
    for body in ({"model": "m1"}, {"model": "m1", "prompt": ""}):
        with pytest.raises(BadRequest) as caught:
            GENERATE.parse_request(body)
        assert caught.value.param == "prompt"


# What the fields mean.


def test_a_message_keeps_all_that_it_says() -> None:
    assert conversation(
        {"role": "System", "content": "Be brief."},
        {
            "role": "ASSISTANT",
            "content": "Let me look.",
            "thinking": "Hm.",
            "images": None,
            "tool_calls": [function("f", "call_1", a=1)],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "ok", "images": [PNG]},
        {"role": "assistant", "content": ""},
    ) == (
        Message("system", (Text("Be brief."),)),
        Message(
            "assistant",
            (Reasoning("Hm."), Text("Let me look."), ToolCall("call_1", "f", '{"a":1}')),
        ),
        Message("tool", (ToolResult("call_1", (Text("ok"), Image("image/png", PNG)), "f"),)),
        Message("assistant", (Text(""),)),
    )


@pytest.mark.parametrize(
    ("options", "sampling"),
    [
        (
            {"temperature": 0.5, "top_p": 1, "top_k": 40, "min_p": 0.1, "num_predict": 9.0},
            Sampling(temperature=0.5, top_p=1, top_k=40, min_p=0.1, max_tokens=9),
        ),
        (
            {"seed": 1, "stop": "END", "presence_penalty": -1, "frequency_penalty": 1},
            Sampling(seed=1, stop=("END",), presence_penalty=-1, frequency_penalty=1),
        ),
        ({"num_predict": -1, "seed": -1, "stop": [], "temperature": None}, Sampling()),
        ({}, Sampling()),
        (None, Sampling()),
    ],
)
def test_options_are_sampling(options: Any, sampling: Sampling) -> None:
    assert parsed(options=options).sampling == sampling


def test_options_that_we_do_not_know_ride_along() -> None:
    request = parsed(
        options={"repeat_penalty": 1.1, "temperature": 1}, keep_alive=0, logprobs=True, x=None
    )
    assert request.extra == {
        "dialect": "ollama",
        "fields": {"keep_alive": 0, "logprobs": True, "options": {"repeat_penalty": 1.1}},
    }


@pytest.mark.parametrize(
    ("think", "effort", "shown"),
    [
        (None, None, None),
        (True, "medium", True),
        (False, "none", False),
        ("low", "low", True),
        ("medium", "medium", True),
        ("high", "high", True),
        ("max", "max", True),
    ],
)
def test_think_is_an_effort(think: Any, effort: str | None, shown: bool | None) -> None:
    request = parsed(think=think)
    assert (request.effort, request.include_thoughts) == (effort, shown)
    body = OllamaDialect().build_request(request, "m")
    assert body.get("think") == think


def test_an_empty_format_is_none() -> None:
    assert parsed(format="").response_format is None
    assert parsed(format=None).response_format is None


@pytest.mark.parametrize(
    ("magic", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0abcd", "image/jpeg"),
        (b"GIF89aabcdef", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM\0\0\0\0", "image/bmp"),
        (b"\0\1\2", "image/png"),
    ],
)
def test_an_image_tells_its_type_by_its_first_bytes(magic: bytes, kind: str) -> None:
    data = base64.b64encode(magic).decode()
    (message,) = conversation({"role": "user", "images": [data]})
    assert message.parts == (Image(kind, data),)


def test_a_data_url_is_read_as_an_image() -> None:
    (message,) = conversation({"role": "user", "images": [f"data:image/jpeg;base64,{PNG}"]})
    assert message.parts == (Image("image/jpeg", PNG),)


def test_base64_may_be_broken_into_lines() -> None:
    (message,) = conversation({"role": "user", "images": [PNG[:8] + "\r\n" + PNG[8:]]})
    assert message.parts == (Image("image/png", PNG),)


@pytest.mark.parametrize("recording", CASES, ids=lambda recording: str(recording.case.name))
def test_a_recorded_request_read_and_built_again_says_the_same(recording: Recording) -> None:
    asked = recording.request
    if load_reply(asked, now) is not None:
        return
    built = OllamaDialect().build_request(CHAT.parse_request(asked), asked["model"])
    options = {"num_ctx": 4096, **asked.get("options", {})}
    expected = {key: value for key, value in asked.items() if value != []}
    assert built == {**expected, "options": options}
