"""A caller's body of POST /v1/messages -> ChatRequest."""

from __future__ import annotations

import base64
from dataclasses import replace

import orjson
import pytest

from chat.request import (
    ChatRequest,
    File,
    Image,
    Json,
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
from dialects.anthropic import AnthropicDialect

DIALECT = AnthropicDialect()
HI = (Message("user", (Text("hi"),)),)
SCHEMA = {
    "type": "object",
    "title": "Out",
    "properties": {
        "a": {"type": "integer", "title": "A"},
        "name": {"type": "string", "title": "Name"},
    },
    "additionalProperties": False,
    "required": ["a", "name"],
}
CAPTURED: dict[str, tuple[str, ChatRequest]] = {
    "create nonstream": (
        '{"max_tokens":10,"messages":[{"role":"user","content":"hi"}],"model":"m1",'
        '"system":"be brief"}',
        ChatRequest(
            "m1", (Message("system", (Text("be brief"),)), *HI), sampling=Sampling(max_tokens=10)
        ),
    ),
    "create stream": (
        '{"max_tokens":10,"messages":[{"role":"user","content":"hi"}],"model":"m1","stream":true}',
        ChatRequest("m1", HI, stream=True, sampling=Sampling(max_tokens=10)),
    ),
    "tools": (
        '{"max_tokens":10,"messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"get_weather","input":{"city":"x"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"sunny"}]}],"model":"m1","tool_choice":{"type":"any"},"tools":[{"name":"get_weather","description":"d","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}}]}',
        ChatRequest(
            "m1",
            (
                Message("user", (Text("hi"), Image("image/png", "AAAA"))),
                Message("assistant", (ToolCall("toolu_1", "get_weather", '{"city":"x"}'),)),
                Message("tool", (ToolResult("toolu_1", (Text("sunny"),), "get_weather"),)),
            ),
            sampling=Sampling(max_tokens=10),
            tools=(
                Tool(
                    "get_weather",
                    "d",
                    {"type": "object", "properties": {"city": {"type": "string"}}},
                ),
            ),
            tool_choice=ToolChoice("required"),
        ),
    ),
    "messages.parse structured": (
        '{"max_tokens":10,"messages":[{"role":"user","content":"hi"}],"model":"m1","output_config":{"format":{"schema":{"type":"object","title":"Out","properties":{"a":{"type":"integer","title":"A"},"name":{"type":"string","title":"Name"}},"additionalProperties":false,"required":["a","name"]},"type":"json_schema"}}}',
        ChatRequest(
            "m1",
            HI,
            sampling=Sampling(max_tokens=10),
            response_format=ResponseFormat("json_schema", schema=SCHEMA),
        ),
    ),
    "count_tokens": (
        '{"messages":[{"role":"user","content":"hi"}],"model":"m1"}',
        ChatRequest("m1", HI),
    ),
    "thinking": (
        '{"max_tokens":2048,"messages":[{"role":"user","content":"hi"}],"model":"m1","thinking":{"type":"enabled","budget_tokens":1024}}',
        ChatRequest(
            "m1",
            HI,
            sampling=Sampling(max_tokens=2048),
            thinking_budget=1024,
            include_thoughts=True,
        ),
    ),
    "langchain structured": (
        '{"max_tokens":4096,"messages":[{"role":"user","content":"hi"}],"model":"m1","tool_choice":{"type":"tool","name":"Out"},"tools":[{"name":"Out","input_schema":{"properties":{"a":{"type":"integer"},"name":{"type":"string"}},"required":["a","name"],"type":"object"},"description":""}]}',
        ChatRequest(
            "m1",
            HI,
            sampling=Sampling(max_tokens=4096),
            tools=(
                Tool(
                    "Out",
                    "",
                    {
                        "properties": {"a": {"type": "integer"}, "name": {"type": "string"}},
                        "required": ["a", "name"],
                        "type": "object",
                    },
                ),
            ),
            tool_choice=ToolChoice("named", ("Out",)),
        ),
    ),
    "python 0.125": (
        '{"max_tokens":10,"messages":[{"role":"user","content":"hi"}],"model":"m1","temperature":0.2}',
        ChatRequest("m1", HI, sampling=Sampling(temperature=0.2, max_tokens=10)),
    ),
    "ai sdk generateText": (
        '{"model":"m1","max_tokens":4096,"system":[{"type":"text","text":"be brief"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}',  # noqa: E501
        ChatRequest(
            "m1", (Message("system", (Text("be brief"),)), *HI), sampling=Sampling(max_tokens=4096)
        ),
    ),
    "ai sdk object": (
        '{"model":"m1","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"tools":[{"name":"json","description":"Respond with a JSON object.","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true}}',  # noqa: E501
        ChatRequest(
            "m1",
            HI,
            sampling=Sampling(max_tokens=4096),
            tools=(
                Tool("json", "Respond with a JSON object.", {"type": "object", "properties": {}}),
            ),
            tool_choice=ToolChoice("required"),
            parallel_tool_calls=False,
        ),
    ),
}


def ask(*messages: Json, **fields: Json) -> ChatRequest:
    turns = list(messages) or [{"role": "user", "content": "hi"}]
    whole = {"model": "m1", "max_tokens": 100, "messages": turns, **fields}
    return DIALECT.parse_request(whole)


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Json) -> Json:
    return {"type": "text", "text": words, **more}


@pytest.mark.parametrize("name", CAPTURED)
def test_what_a_client_really_sent_is_understood(name: str) -> None:
    captured, request = CAPTURED[name]
    body = orjson.loads(captured)
    if name == "count_tokens":
        # Nothing is answered, so nothing limits the answer; the door fills it in.
        body["max_tokens"], request = 1, replace(request, sampling=Sampling(max_tokens=1))
    assert DIALECT.parse_request(body) == request


def test_what_claude_code_sends_is_understood() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    request = ask(
        user(text("<system-reminder>"), text("say hi", **mark)),
        {"role": "system", "content": "Available"},
        system=[
            text("x-anthropic-billing-header: cc_version=2.1.197; cch=00000;"),
            text("You are Claude Code.", **mark),
            text("x-anthropic-billing-header: a\nand more"),
        ],
        tools=[{"name": "Bash", "input_schema": {"type": "object"}, **mark}],
        metadata={"user_id": '{"device_id":"x"}'},
        max_tokens=32000,
        thinking={"type": "adaptive"},
        context_management={"edits": []},
        output_config={"effort": "high"},
        stream=True,
    )
    assert request == ChatRequest(
        "m1",
        (
            Message("system", (Text("You are Claude Code.", mark), Text("and more"))),
            Message("user", (Text("<system-reminder>"), Text("say hi", mark))),
            Message("system", (Text("Available"),)),
        ),
        stream=True,
        sampling=Sampling(max_tokens=32000),
        tools=(Tool("Bash", None, {"type": "object"}, None, mark),),
        effort="high",
        include_thoughts=True,
        user='{"device_id":"x"}',
        extra={
            "dialect": "anthropic",
            "fields": {
                "context_management": {"edits": []},
                "thinking": {"type": "adaptive"},
            },
        },
    )


def test_a_billing_line_alone_leaves_no_system_prompt() -> None:
    assert ask(system="x-anthropic-billing-header: a").messages == HI
    assert ask(system=[]).messages == HI


def test_results_of_tools_are_messages_of_their_own_before_the_rest() -> None:
    picture = {"type": "image", "source": {"type": "url", "url": "https://x.test/y.png"}}
    request = ask(
        assistant(
            {"type": "tool_use", "id": "a", "name": "f", "input": {}},
            {"type": "tool_use", "id": "b", "name": "g", "input": {"x": [1]}},
        ),
        user(
            text("see"),
            {"type": "tool_result", "tool_use_id": "a", "is_error": True},
            {"type": "tool_result", "tool_use_id": "b", "content": [text("1"), picture]},
        ),
    )
    assert request.messages == (
        Message("assistant", (ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x":[1]}'))),
        Message("tool", (ToolResult("a", (), "f", True),)),
        Message("tool", (ToolResult("b", (Text("1"), Image(url="https://x.test/y.png")), "g"),)),
        Message("user", (Text("see"),)),
    )


def test_thoughts_keep_their_signatures() -> None:
    request = ask(
        assistant(
            {"type": "thinking", "thinking": "Hm", "signature": "EqQB"},
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "redacted_thinking", "data": "EmwK"},
            text("ok"),
        )
    )
    assert request.messages[0].parts == (
        Reasoning("Hm", "EqQB", vendor="anthropic"),
        Reasoning(""),
        Reasoning(redacted="EmwK", vendor="anthropic"),
        Text("ok"),
    )


def test_documents_are_words_where_they_are_words() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    plain = {"type": "document", "title": "T", "source": {"type": "text", "data": "words"}}
    content = {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}}
    found = {"type": "search_result", "title": "T", "source": "https://x", "content": [text("w")]}
    stored = {"type": "file", "file_id": "file_1"}
    request = ask(
        user(
            {"type": "document", "source": pdf, "title": "a.pdf", **mark},
            {"type": "document", "source": {"type": "url", "url": "https://x.test/y.pdf"}},
            {"type": "document", "source": stored},
            {"type": "image", "source": stored},
            plain,
            content,
            found,
        )
    )
    assert request.messages[0].parts == (
        File("document", "application/pdf", "AAAA", name="a.pdf", opaque=mark),
        File("document", url="https://x.test/y.pdf"),
        File("document", opaque={"source": stored}),
        Image(opaque={"source": stored}),
        Text("T\n\nwords", {"block": plain}),
        Text("a\nb", {"block": content}),
        Text("T (https://x)\n\nw", {"block": found}),
    )


def test_blocks_and_tools_of_anthropics_own_ride_along() -> None:
    call = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    search = {"type": "web_search_20250305", "name": "web_search"}
    request = ask(
        user(text("x")),
        assistant(call, result, text("ok")),
        user(text("y")),
        tools=[search],
        tool_choice={"type": "tool", "name": "web_search"},
    )
    assert request.tools == ()
    assert request.messages[1].text == "ok"
    body = DIALECT.build_request(request, "claude-sonnet-4-6")
    assert body["tools"] == [search]
    assert body["tool_choice"] == {"type": "tool", "name": "web_search"}
    assert body["messages"][1]["content"] == [call, result, text("ok")]


@pytest.mark.parametrize(
    ("fields", "effort", "budget", "shown"),
    [
        ({}, None, None, None),
        ({"thinking": {"type": "disabled"}}, "none", None, None),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
            "none",
            None,
            None,
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, None, 2000, True),
        (
            {
                "thinking": {"type": "adaptive", "display": "omitted"},
                "output_config": {"effort": "max"},
            },
            "max",
            None,
            False,
        ),
        ({"thinking": {"type": "between_tools"}}, None, None, None),
        ({"output_config": {"effort": "xhigh"}}, "xhigh", None, None),
    ],
)
def test_thinking_and_effort_are_read(
    fields: dict[str, Json], effort: str | None, budget: int | None, shown: bool | None
) -> None:
    request = ask(**fields)
    assert (request.effort, request.thinking_budget, request.include_thoughts) == (
        effort,
        budget,
        shown,
    )


def test_adaptive_thinking_comes_back_out_for_anthropic() -> None:
    for thinking in ({"type": "adaptive", "display": "summarized"}, {"type": "between_tools"}):
        body = DIALECT.build_request(ask(thinking=thinking), "claude-sonnet-5-5")
        assert body["thinking"] == thinking


def test_the_older_place_of_the_schema_is_read_too() -> None:
    request = ask(output_format={"type": "json_schema", "schema": SCHEMA})
    assert request.response_format == ResponseFormat("json_schema", schema=SCHEMA)


def test_a_large_picture_is_taken() -> None:
    data = base64.b64encode(bytes(5 * 2**20)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    (part,) = ask(user({"type": "image", "source": source})).messages[0].parts
    assert isinstance(part, Image)
    assert part.data == data
