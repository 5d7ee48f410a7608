"""A caller's mistakes in the body of POST /v1/messages, named by their field."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import BadRequest
from chat.request import (
    Json,
)
from dialects.anthropic import AnthropicDialect

DIALECT = AnthropicDialect()


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str, **more: Json) -> Json:
    return {"type": "text", "text": words, **more}


CALL = {"type": "tool_use", "id": "a", "name": "f", "input": {}}


def image(**source: Json) -> Json:
    return {"type": "image", "source": source}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({"messages": [user(text("x"))]}, "model"),
        ({"model": 3}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"messages": [user("x")]}, "messages[0].content[0]"),
        ({"messages": [user({})]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": "video"})]}, "messages[0].content[0].type"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text"),
        ({"messages": [user(CALL)]}, "messages[0].content[0].type"),
        ({"messages": [assistant(image(type="url"))]}, "messages[0].content[0].type"),
        ({"messages": [assistant({**CALL, "input": "{}"})]}, "messages[0].content[0].input"),
        (
            {"messages": [assistant({"type": "tool_use", "id": "a", "name": "f"})]},
            "messages[0].content[0].input",
        ),
        ({"messages": [user({"type": "image"})]}, "messages[0].content[0].source"),
        ({"messages": [user(image(type="ftp"))]}, "messages[0].content[0].source.type"),
        (
            {"messages": [user(image(type="url", url="file:///x"))]},
            "messages[0].content[0].source.url",
        ),
        (
            {"messages": [user(image(type="base64", media_type="image/tiff", data="AAAA"))]},
            "messages[0].content[0].source.media_type",
        ),
        (
            {"messages": [user(image(type="base64", media_type="image/png", data="AA A"))]},
            "messages[0].content[0].source.data",
        ),
        (
            {"messages": [user(image(type="base64", media_type="image/png", data="é"))]},
            "messages[0].content[0].source.data",
        ),
        (
            {"messages": [user(text("x"), {"type": "tool_result", "tool_use_id": "a"})]},
            "messages[0].content[1].tool_use_id",
        ),
        (
            {
                "messages": [
                    assistant(CALL),
                    user({"type": "tool_result", "tool_use_id": "a", "content": 1}),
                ]
            },
            "messages[1].content[0].content",
        ),
        (
            {
                "messages": [
                    assistant(CALL),
                    user({"type": "tool_result", "tool_use_id": "a", "content": [CALL]}),
                ]
            },
            "messages[1].content[0].content[0].type",
        ),
        ({"messages": [{"role": "system", "content": [CALL]}]}, "messages[0].content[0].type"),
        ({"system": 3}, "system"),
        ({"system": [image()]}, "system[0].type"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"stop_sequences": [1]}, "stop_sequences"),
        ({"tools": [{}]}, "tools[0].name"),
        ({"tools": [{"name": "", "input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "f", "input_schema": "{}"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice.name"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "minimal"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"metadata": {"user_id": 3}}, "metadata.user_id"),
    ],
)
def test_a_mistake_is_named_by_its_field(body: Json, param: str | None) -> None:
    if isinstance(body, dict):
        body = {"max_tokens": 1, **body}
    if isinstance(body, dict) and "messages" not in body:
        body = {"model": "m1", "messages": [user(text("x"))], **body}
    elif isinstance(body, dict) and param != "model":
        body = {"model": "m1", **body}
    with pytest.raises(BadRequest) as caught:
        DIALECT.parse_request(body)
    assert caught.value.param == param
    assert (param or "") in caught.value.message


NAMES = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "source",
        "data",
        "url",
        "id",
        "name",
        "input",
        "title",
        "tool_use_id",
        "is_error",
        "user",
        "assistant",
        "system",
        "tool_use",
        "tool_result",
        "image",
        "document",
        "base64",
        "thinking",
        "signature",
        "search_result",
        "media_type",
        "display",
        "budget_tokens",
        "adaptive",
        "enabled",
        "format",
        "schema",
        "effort",
        "web_search",
        "input_schema",
    ]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3000) | st.floats(-1, 2) | st.text() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    [
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "stream",
        "metadata",
        "max_tokens",
        "top_k",
        "stop_sequences",
        "output_format",
        "unheard_of",
    ]
)


@given(st.dictionaries(FIELDS, ANY_JSON), st.lists(ANY_JSON, max_size=3), st.booleans())
def test_any_body_is_a_request_or_a_mistake(
    body: dict[str, Json], blocks: list[Json], ours: bool
) -> None:
    roles = ("user", "assistant", "system")
    messages = [{"role": role, "content": blocks if ours else "hi"} for role in roles]
    body = {"model": "m1", "max_tokens": 1, "messages": messages, **body}
    try:
        request = DIALECT.parse_request(body)
    except BadRequest as mistake:
        if mistake.param is None or mistake.param.split(".")[0].split("[")[0] not in body:
            raise
        return
    assert request.messages
    orjson.dumps(DIALECT.relay_body(body, "claude-sonnet-4-5"))
