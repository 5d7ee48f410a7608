"""Messages -> Anthropic's turns, by the mapping tables of PROTOCOLS 6."""

from __future__ import annotations

import base64
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Rejected
from chat.request import (
    File,
    Image,
    Json,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from tests.dialects.anthropic_turns import build, conversation, said

SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"


def test_leading_system_messages_stand_on_top_and_later_ones_in_the_users_turn() -> None:
    body = build(
        said("system", "be brief"),
        said("user", "hi"),
        said("assistant", "hello"),
        said("system", "be long"),
        said("user", "more"),
    )
    assert body["system"] == "be brief"
    assert body["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "text", "text": "<system>\nbe long\n</system>"},
            {"type": "text", "text": "more"},
        ],
    }
    two = build(said("system", "one"), said("system", "two"), said("user", "hi"))
    assert two["system"] == [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]


def test_a_request_of_system_messages_alone_still_asks_something() -> None:
    body = build(said("system", "be brief"), said("system", "Say hi."))
    assert body["system"] == "be brief"
    assert body["messages"] == [{"role": "user", "content": "Say hi."}]


def test_turns_alternate_begin_with_the_user_and_are_never_empty() -> None:
    assert conversation(
        said("assistant", "hello"),
        said("assistant", ""),
        said("user", "a"),
        said("user", "", "  ", "b"),
        said("assistant", " \n"),
        said("user", "c"),
    ) == [
        {"role": "user", "content": "(no content)"},
        {"role": "assistant", "content": "hello"},
        {
            "role": "user",
            "content": [{"type": "text", "text": text} for text in ("a", "b", "c")],
        },
    ]
    assert conversation(said("user", "")) == [{"role": "user", "content": "(no content)"}]


def test_a_prefill_does_not_end_with_space() -> None:
    assert conversation(said("user", "a"), said("assistant", " b \n"))[1]["content"] == " b"


def test_results_of_tools_are_one_user_turn_and_stand_first() -> None:
    turns = conversation(
        said("user", "weather?"),
        said(
            "assistant",
            "Let me look.",
            ToolCall("a", "weather", '{"city":"x"}'),
            ToolCall("b", "weather", ""),
        ),
        said("system", "hurry"),
        said("tool", ToolResult("a", (Text("sunny"),))),
        said("tool", ToolResult("b", (), is_error=True)),
        said("user", "and?"),
    )
    assert turns[1]["content"][1:] == [
        {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "x"}},
        {"type": "tool_use", "id": "b", "name": "weather", "input": {}},
    ]
    assert turns[2:] == [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "b", "is_error": True},
                {"type": "text", "text": "<system>\nhurry\n</system>"},
                {"type": "text", "text": "and?"},
            ],
        }
    ]


def test_ids_are_clean_unique_and_found_again_by_their_results() -> None:
    turns = conversation(
        said("user", "x"),
        said(
            "assistant",
            ToolCall("a.1", "f", "{}"),
            ToolCall("a:1", "f", "{}"),
            ToolCall("", "f", "{}"),
        ),
        said("tool", ToolResult("a:1", (Text("second"),))),
        said("tool", ToolResult("a.1", (Text("first"),))),
        said("tool", ToolResult("", (Text("third"),))),
        said("assistant", ToolCall("a.1", "f", "{}")),
        said("tool", ToolResult("a.1", (Text("again"),))),
    )
    calls = [block["id"] for turn in turns for block in blocks(turn, "tool_use")]
    assert calls == ["a_1", "a_1_2", "call", "a_1_3"]
    results = [
        (block["tool_use_id"], block["content"])
        for turn in turns
        for block in blocks(turn, "tool_result")
    ]
    assert results == [("a_1_2", "second"), ("a_1", "first"), ("call", "third"), ("a_1_3", "again")]


def test_two_calls_with_one_id_get_their_results_in_order() -> None:
    turns = conversation(
        said("user", "x"),
        said("assistant", ToolCall("a", "f", "{}"), ToolCall("a", "f", "{}")),
        said("tool", ToolResult("a", (Text("1"),)), ToolResult("a", (Text("2"),))),
    )
    assert [b["tool_use_id"] for b in blocks(turns[2], "tool_result")] == ["a", "a_2"]


def blocks(turn: Json, kind: str) -> list[Json]:
    if isinstance(turn["content"], str):
        return []
    return [block for block in turn["content"] if block["type"] == kind]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ("", {}),
        (" ", {}),
        ('{"a":1}', {"a": 1}),
        ('{"a":', {"_raw": '{"a":'}),
        ("[1]", {"_raw": "[1]"}),
    ],
)
def test_arguments_are_an_object_whatever_they_were(arguments: str, value: Json) -> None:
    turns = conversation(said("user", "x"), said("assistant", ToolCall("a", "f", arguments)))
    assert turns[1]["content"][0]["input"] == value


def test_only_signed_thoughts_go_back() -> None:
    turns = conversation(
        said("user", "x"),
        said(
            "assistant",
            Reasoning("mine", SIGNATURE, vendor="anthropic"),
            Reasoning("of a model without signatures"),
            Reasoning("of another", "sig_123", vendor="anthropic"),
            Reasoning("of another that looks the same", SIGNATURE, vendor="gemini"),
            Reasoning("of nobody", SIGNATURE),
            Reasoning(redacted=SIGNATURE, vendor="anthropic"),
            Reasoning(redacted=SIGNATURE, vendor="gemini"),
            Reasoning(redacted="rs_1", vendor="anthropic"),
            "answer",
            Reasoning("the last block must be none", SIGNATURE, vendor="anthropic"),
        ),
        said("user", "y"),
        said("assistant", Reasoning("alone", SIGNATURE, vendor="anthropic")),
        said("user", "z"),
    )
    assert turns[1]["content"] == [
        {"type": "thinking", "thinking": "mine", "signature": SIGNATURE},
        {"type": "redacted_thinking", "data": SIGNATURE},
        {"type": "text", "text": "answer"},
    ]
    assert len(turns) == 3


def test_pictures_and_documents_become_blocks() -> None:
    pdf = File("document", "application/pdf", "AAAA", name="a.pdf")
    plain = File("document", "text/plain", base64.b64encode("né".encode()).decode())
    parts = (
        Image("image/png", "AAAA", detail="high", opaque={"cache_control": {"type": "ephemeral"}}),
        Image(data="/9j/AAAA"),
        Image(url="https://x/y.png"),
        Image(opaque={"source": {"type": "file", "file_id": "file_1"}}),
        pdf,
        plain,
        File("document", url="https://x/y.pdf"),
        Text("look", {"cache_control": {"type": "ephemeral"}, "other": 1}),
    )
    assert conversation(Message("user", parts))[0]["content"] == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            "cache_control": {"type": "ephemeral"},
        },
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/AAAA"},
        },
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "né"}},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
    ]


@pytest.mark.parametrize(
    "part",
    [
        File("audio", "audio/wav", "AAAA"),
        File("document"),
        File("document", "text/plain", "A"),
        Image(),
        Image(data="AAAA"),
    ],
)
def test_what_anthropic_cannot_read_may_go_to_another_target(part: Part) -> None:
    with pytest.raises(Rejected) as caught:
        build(Message("user", (part,)))
    assert caught.value.fallback


def test_a_result_may_hold_a_picture() -> None:
    result = ToolResult("a", (Text("see"), Image("image/png", "AAAA")))
    turns = conversation(
        said("user", "x"), said("assistant", ToolCall("a", "f", "")), said("tool", result)
    )
    assert turns[2]["content"][0]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    ]


def test_what_rode_along_from_another_dialect_stays_behind() -> None:
    mark = {"dialect": "openai", "cache_control": {"type": "ephemeral"}}
    assert conversation(Message("user", (Text("x", mark),)))[0]["content"] == "x"


def test_a_block_of_anthropics_own_goes_back_as_it_came() -> None:
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    turns = conversation(
        said("user", "x"), Message("assistant", (Text("", {"block": block}), Text("ok")))
    )
    assert turns[1]["content"] == [block, {"type": "text", "text": "ok"}]


PARTS = st.one_of(
    st.text(max_size=5).map(Text),
    st.builds(
        Reasoning,
        st.text(max_size=3),
        st.sampled_from([None, "", SIGNATURE, "x-y"]),
        vendor=st.sampled_from([None, "anthropic", "gemini"]),
    ),
    st.builds(ToolCall, st.sampled_from(["", "a", "b.c", "b:c", "é"]), st.just("f"), st.text()),
    st.builds(
        ToolResult,
        st.sampled_from(["", "a", "b.c", "zzz"]),
        st.lists(st.text(max_size=3).map(Text), max_size=2).map(tuple),
    ),
)
MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.lists(PARTS, max_size=4).map(tuple),
    ),
    max_size=6,
).map(tuple)


@given(MESSAGES)
def test_whatever_was_said_the_wire_gets_what_it_takes(messages: tuple[Message, ...]) -> None:
    body = build(*(place(message) for message in messages))
    turns = body["messages"]
    assert turns[0]["role"] == "user"
    assert all(a["role"] != b["role"] for a, b in pairwise(turns))
    ids = [block["id"] for turn in turns for block in blocks(turn, "tool_use")]
    assert len(set(ids)) == len(ids)
    for turn in turns:
        content = turn["content"]
        assert content
        if isinstance(content, str):
            assert content.strip()
            continue
        kinds = [block["type"] for block in content]
        assert kinds == sorted(kinds, key=lambda kind: kind != "tool_result")
        assert all(block["text"].strip() for block in blocks(turn, "text"))
        assert turn["role"] == "user" or kinds[-1] != "thinking"
    assert all(identity.isascii() and identity for identity in ids)


def place(message: Message) -> Message:
    """Parts where a dialect puts them: calls and thoughts with the assistant, results with the
    tool."""
    homes: dict[str, tuple[type, ...]] = {
        "assistant": (Text, Reasoning, ToolCall),
        "tool": (ToolResult,),
    }
    kept = homes.get(message.role, (Text,))
    return replace(message, parts=tuple(part for part in message.parts if isinstance(part, kept)))
