"""What a caller of Ollama must not ask, and the field that the error names."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadRequest
from chat.request import ChatRequest
from dialects.base import InboundDialect
from dialects.ollama import OllamaDialect, OllamaGenerateDialect

CHAT: InboundDialect = OllamaDialect()
GENERATE: InboundDialect = OllamaGenerateDialect()
HI = {"role": "user", "content": "hi"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()


def parsed(**fields: Any) -> ChatRequest:
    return CHAT.parse_request({"model": "m1", "messages": [HI], **fields})


def called(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls)}


def function(name: str, call_id: str | None = None, **arguments: Any) -> dict[str, Any]:
    call: dict[str, Any] = {"function": {"name": name, "arguments": arguments}}
    return call if call_id is None else {"id": call_id, **call}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [HI, "hi"]}, "messages[1]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [HI, {"role": "robot", "content": "hi"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": [HI]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "images": PNG}]}, "messages[0].images"),
        ({"messages": [{"role": "user", "images": [PNG, 1]}]}, "messages[0].images[1]"),
        ({"messages": [{"role": "user", "images": [""]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "user", "images": [" "]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "user", "images": ["not base64"]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "user", "images": ["Bilder—"]}]}, "messages[0].images[0]"),
        (
            {"messages": [{"role": "user", "images": ["https://example.org/a.png"]}]},
            "messages[0].images[0]",
        ),
        (
            {"messages": [{"role": "user", "images": ["data:text/plain;base64,AAEC"]}]},
            "messages[0].images[0]",
        ),
        (
            {"messages": [{"role": "user", "images": ["data:image/png,AAEC"]}]},
            "messages[0].images[0]",
        ),
        ({"messages": [{**called(function("f")), "role": "user"}]}, "messages[0].tool_calls"),
        ({"messages": [called({})]}, "messages[0].tool_calls[0].function"),
        (
            {"messages": [called({"function": {"arguments": {}}})]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"messages": [called({"function": {"name": "", "arguments": {}}})]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"messages": [called({"function": {"name": "f", "arguments": "no"}})]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            {"messages": [called({"function": {"name": "f", "arguments": [1]}})]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": [HI, {"role": "tool", "content": "x"}]}, "messages[1]"),
        (
            {"messages": [called(function("f")), {"role": "tool", "tool_name": "g"}]},
            "messages[1].tool_name",
        ),
        (
            {"messages": [called(function("f", "c1")), {"role": "tool", "tool_call_id": "c2"}]},
            "messages[1].tool_call_id",
        ),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"function": {}}]}, "tools[0].function.name"),
        (
            {"tools": [{"function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"format": "yaml"}, "format"),
        ({"format": []}, "format"),
        ({"think": "deeply"}, "think"),
        ({"think": 1}, "think"),
        ({"stream": "yes"}, "stream"),
        ({"options": []}, "options"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"temperature": -1}}, "options.temperature"),
        ({"options": {"num_predict": 1.5}}, "options.num_predict"),
        ({"options": {"stop": [1]}}, "options.stop"),
    ],
)
def test_an_error_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(**fields)
    assert caught.value.param == param
    assert caught.value.message.startswith(param)


@pytest.mark.parametrize("body", [None, [], "hi", 3])
def test_a_body_must_be_an_object(body: Any) -> None:
    for dialect in (CHAT, GENERATE):
        with pytest.raises(BadRequest):
            dialect.parse_request(body)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "tool_calls", "function", "name", "arguments", "id"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(
        st.sampled_from(["messages", "tools", "format", "options", "think", "prompt", "images"]),
        JSON_VALUES,
    )
)
def test_whatever_body_comes_it_is_a_request_or_a_bad_request(body: dict[str, Any]) -> None:
    for dialect in (CHAT, GENERATE):
        try:
            request = dialect.parse_request({"model": "m1", **body})
        except BadRequest:
            continue
        assert request.messages
