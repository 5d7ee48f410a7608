"""Which result of a tool answers which call, when a caller keeps no ids."""

from __future__ import annotations

from typing import Any

from chat.request import Message, ToolCall
from dialects.base import InboundDialect
from dialects.ollama import OllamaDialect
from tests.dialects.ollama_calls import called, function, pairs

CHAT: InboundDialect = OllamaDialect()
HI = {"role": "user", "content": "hi"}


def conversation(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return CHAT.parse_request({"model": "m1", "messages": [HI, *messages]}).messages[1:]


# Which result answers which call.


def test_results_without_ids_answer_in_order() -> None:
    messages = conversation(
        called(function("f", n=1), function("f", n=2), function("g", n=3)),
        {"role": "tool", "content": "one"},
        {"role": "tool", "content": "two"},
        {"role": "tool", "content": "three"},
    )
    assert pairs(messages) == [("one", '{"n":1}'), ("two", '{"n":2}'), ("three", '{"n":3}')]


def test_results_with_names_answer_by_name_and_then_in_order() -> None:
    messages = conversation(
        called(function("f", n=1), function("g", n=2), function("f", n=3)),
        {"role": "tool", "content": "g", "tool_name": "g"},
        {"role": "tool", "content": "first f", "tool_name": "f"},
        {"role": "tool", "content": "second f", "tool_name": "f"},
    )
    assert pairs(messages) == [("g", '{"n":2}'), ("first f", '{"n":1}'), ("second f", '{"n":3}')]


def test_results_with_ids_answer_by_id() -> None:
    messages = conversation(
        called(function("f", "a", n=1), function("f", "b", n=2)),
        {"role": "tool", "content": "two", "tool_call_id": "b", "tool_name": "f"},
        {"role": "tool", "content": "one", "tool_call_id": "a", "tool_name": "f"},
    )
    assert pairs(messages) == [("two", '{"n":2}'), ("one", '{"n":1}')]


def test_ids_that_only_results_have_are_no_hindrance() -> None:
    messages = conversation(
        called(function("f", n=1), function("g", n=2)),
        {"role": "tool", "content": "two", "tool_call_id": "tc_2", "tool_name": "g"},
        {"role": "tool", "content": "one", "tool_call_id": "tc_1"},
    )
    assert pairs(messages) == [("two", '{"n":2}'), ("one", '{"n":1}')]


def test_an_id_that_comes_again_in_a_later_turn_is_made_unique() -> None:
    messages = conversation(
        called(function("f", "call_0", n=1)),
        {"role": "tool", "content": "one", "tool_call_id": "call_0"},
        called(function("f", "call_0", n=2)),
        {"role": "tool", "content": "two", "tool_call_id": "call_0"},
    )
    assert pairs(messages) == [("one", '{"n":1}'), ("two", '{"n":2}')]


def test_parallel_calls_of_one_id_are_answered_in_order() -> None:
    messages = conversation(
        called(function("f", "call_0", n=1), function("f", "call_0", n=2)),
        {"role": "tool", "content": "one", "tool_call_id": "call_0"},
        {"role": "tool", "content": "two", "tool_call_id": "call_0"},
    )
    assert pairs(messages) == [("one", '{"n":1}'), ("two", '{"n":2}')]


def test_a_call_that_nobody_answered_does_not_shift_the_next_turn() -> None:
    messages = conversation(
        called(function("f", n=1)),
        {"role": "user", "content": "never mind, do this"},
        called(function("f", n=2)),
        {"role": "tool", "content": "two"},
    )
    assert pairs(messages) == [("two", '{"n":2}')]


def test_two_assistant_messages_in_a_row_are_answered_in_order() -> None:
    messages = conversation(
        called(function("f", n=1)),
        called(function("f", n=2)),
        {"role": "tool", "content": "one"},
        {"role": "tool", "content": "two"},
    )
    assert pairs(messages) == [("one", '{"n":1}'), ("two", '{"n":2}')]


def test_made_up_ids_stay_the_same_from_turn_to_turn() -> None:
    turns = (called(function("f", n=1)), {"role": "tool", "content": "one"})
    more = (*turns, called(function("f", n=1)), {"role": "tool", "content": "two"})
    assert conversation(*more)[: len(turns)] == conversation(*turns)
    assert (
        len(
            {part.id for m in conversation(*more) for part in m.parts if isinstance(part, ToolCall)}
        )
        == 2
    )
