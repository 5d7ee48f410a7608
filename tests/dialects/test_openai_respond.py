"""Events -> the bytes that callers of OpenAI's language read."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken
from chat.events import (
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import ChatResponse, fold
from chat.request import ChatRequest, Message, Text
from chat.trace import Trace
from dialects.openai import OpenAiDialect
from dialects.openai.respond import OpenAiRenderer
from tests.dialects.cuts import cuttings, play

DIALECT = OpenAiDialect()
TRACE = Trace("abc", model="m1")
HEAD = '{"id":"chatcmpl-abc","object":"chat.completion.chunk","created":1760000000,"model":"m1",'


def renderer(usage: bool = False, model: str = "m1") -> OpenAiRenderer:
    request = ChatRequest("auto", (Message("user", (Text("hi"),)),), True, include_usage=usage)
    return DIALECT.renderer(request, "abc", model, lambda: 1760000000.9)


def written(*events: StreamEvent, usage: bool = False) -> bytes:
    stream = renderer(usage)
    return stream.feed(events) + stream.close(TRACE)


def sse(*bodies: str) -> bytes:
    return "".join(f"data: {body}\n\n" for body in bodies).encode("ascii")


def delta(inner: str, finish: str = "null", more: str = "") -> str:
    return HEAD + f'"choices":[{{"index":0,"delta":{{{inner}}},"finish_reason":{finish}}}]{more}}}'


ROLE = '"role":"assistant","content":""'


def test_a_stream_is_written_byte_for_byte_as_the_rules_say() -> None:
    told = written(
        Start("theirs", "gpt"),
        TextDelta('a"\n\u2028é😀'),
        TextDelta(""),
        Usage(3, 2),
        Finish("stop"),
    )
    assert told == sse(
        delta(ROLE),
        delta('"content":"a\\"\\n\\u2028\\u00e9\\ud83d\\ude00"'),
        delta("", '"stop"'),
        "[DONE]",
    )


def test_usage_is_told_to_those_who_asked_in_a_last_chunk_without_choices() -> None:
    null = ',"usage":null'
    told = written(Start(), TextDelta("a"), Usage(9, 5, 4, 1, 2), Finish("length"), usage=True)
    assert told == sse(
        delta(ROLE, more=null),
        delta('"content":"a"', more=null),
        delta("", '"length"', null),
        HEAD + '"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,'
        '"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":1},'
        '"completion_tokens_details":{"reasoning_tokens":2}}}',
        "[DONE]",
    )


def test_usage_that_nobody_counted_is_not_zero() -> None:
    assert b'"usage":{' not in written(Start(), Finish("stop"), usage=True)
    told = written(Start(), Usage(output_tokens=3), Finish("stop"), usage=True)
    assert b'{"prompt_tokens":0,"completion_tokens":3,"total_tokens":3}' in told


def test_thoughts_and_refusals_have_fields_of_their_own() -> None:
    told = written(
        Start(),
        ReasoningDelta("hm", signature="secret"),
        ReasoningDelta(redacted="zzz"),
        RefusalDelta("no"),
        Finish("content_filter"),
    )
    assert told == sse(
        delta(ROLE),
        delta('"reasoning_content":"hm"'),
        delta('"refusal":"no"'),
        delta("", '"content_filter"'),
        "[DONE]",
    )


def test_a_call_is_opened_once_and_fed_by_its_index() -> None:
    told = written(
        Start(),
        ToolCallDelta(0, "call_a", "f", ""),
        ToolCallDelta(0, arguments='{"x":'),
        ToolCallDelta(0, arguments=""),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(1, "call_b", "g", "{}"),
        Finish("tool_calls"),
    )
    opened = (
        '"tool_calls":[{"index":%d,"id":"%s","type":"function",'
        '"function":{"name":"%s","arguments":"%s"}}]'
    )
    fed = '"tool_calls":[{"index":%d,"function":{"arguments":"%s"}}]'
    assert told == sse(
        delta(ROLE),
        delta(opened % (0, "call_a", "f", "")),
        delta(fed % (0, '{\\"x\\":')),
        delta(fed % (0, "1}")),
        delta(opened % (1, "call_b", "g", "{}")),
        delta("", '"tool_calls"'),
        "[DONE]",
    )


def test_a_call_without_arguments_gets_an_empty_object() -> None:
    events: list[StreamEvent] = [
        Start(),
        ToolCallDelta(0, "a", "f"),
        ToolCallDelta(1, "b", "g"),
        Finish("tool_calls"),
    ]
    calls = fold(play(DIALECT, [written(*events)]).events).tool_calls
    assert [call.arguments for call in calls] == ["{}", "{}"]


def test_a_batch_is_one_write_and_nothing_is_nothing() -> None:
    stream = renderer()
    assert stream.feed([]) == b""
    assert stream.feed([Start(), TextDelta("a"), TextDelta("b")]).count(b"data: ") == 3
    assert stream.feed([TextDelta(""), ReasoningDelta(""), Usage(1, 1)]) == b""
    assert stream.feed([]) == b""


def test_the_role_comes_first_also_without_a_start() -> None:
    assert renderer().feed([TextDelta("a")]).startswith(b"data: " + delta(ROLE).encode())


def test_a_comment_keeps_the_stream_alive_without_a_blank_line() -> None:
    assert renderer().keepalive == b": keepalive\n"
    stream = renderer()
    alive = stream.keepalive
    told = alive + stream.feed([Start(), TextDelta("a")]) + alive + alive
    told += stream.feed([Finish("stop")]) + alive + stream.close(TRACE)
    assert play(DIALECT, [told]).events == [
        Start("chatcmpl-abc", "m1"),
        TextDelta("a"),
        Finish("stop"),
    ]


def test_a_failure_is_an_error_object_and_nothing_after_it() -> None:
    stream = renderer()
    stream.feed([Start(), TextDelta("half")])
    told = stream.fail(Broken("It broke: é\n", code="cut"))
    assert told == (
        b'data: {"error":{"message":"It broke: \\u00e9\\n","type":"server_error",'
        b'"param":null,"code":"cut"}}\n\n'
    )


def test_strange_names_are_escaped() -> None:
    told = renderer(model='a"é\n').feed([Start()])
    assert json.loads(told[6:])["model"] == 'a"é\n'


def response(*events: StreamEvent) -> ChatResponse:
    return fold([Start("theirs", "gpt"), *events])


def rendered(*events: StreamEvent, trace: Trace = TRACE) -> Any:
    request = ChatRequest("auto", ())
    return DIALECT.render_response(request, response(*events), trace, lambda: 1760000000.9)


def test_a_whole_answer_has_the_shape_of_a_chat_completion() -> None:
    assert rendered(TextDelta("a"), TextDelta("b"), Usage(3, 2), Finish("stop")) == {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "m1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_a_whole_answer_with_calls_and_thoughts() -> None:
    answer = rendered(ReasoningDelta("hm"), ToolCallDelta(0, "c", "f", ""), Finish("tool_calls"))
    assert "usage" not in answer
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }


def test_a_refusal_has_no_content_and_an_empty_answer_has_empty_content() -> None:
    refused = rendered(RefusalDelta("no"), Finish("stop"))["choices"][0]["message"]
    assert (refused["content"], refused["refusal"]) == (None, "no")
    empty = rendered(Finish("stop"))["choices"][0]["message"]
    assert (empty["content"], empty["refusal"]) == ("", None)


def test_a_model_that_the_trace_does_not_know_is_named_by_the_upstream() -> None:
    assert rendered(Finish("stop"), trace=Trace("abc"))["model"] == "gpt"


STRANGE = st.text(st.sampled_from('\n\r\u2028\x85"\\ \ufeff😀'), min_size=1, max_size=6)
WORDS = st.text(min_size=1, max_size=6) | STRANGE
ARGUMENTS = st.dictionaries(WORDS, WORDS | st.integers(), max_size=3).map(json.dumps)
CALL = st.tuples(st.sampled_from(["f", "g"]), ARGUMENTS, st.lists(st.integers(1, 40), max_size=3))
SAID = st.lists(
    st.builds(TextDelta, WORDS) | st.builds(ReasoningDelta, WORDS) | st.builds(RefusalDelta, WORDS),
    max_size=6,
)


@st.composite
def streams(draw: st.DrawFn) -> list[StreamEvent]:
    """What an upstream may say: words, then calls in pieces, then usage and the finish."""
    events: list[StreamEvent] = [Start("chatcmpl-abc", "m1"), *draw(SAID)]
    calls = draw(st.lists(CALL, max_size=3))
    for index, (name, arguments, cuts) in enumerate(calls):
        edges = [0, *sorted({cut for cut in cuts if cut < len(arguments)}), len(arguments)]
        pieces = [arguments[a:b] for a, b in pairwise(edges)]
        if draw(st.booleans()):
            pieces.insert(0, "")
        events.append(ToolCallDelta(index, f"call_{index}", name, pieces[0]))
        events += [ToolCallDelta(index, arguments=piece) for piece in pieces[1:]]
    tokens = st.integers(0, 999)
    maybe = st.none() | tokens
    if draw(st.booleans()):
        events.append(Usage(draw(tokens), draw(tokens), draw(maybe), draw(maybe), draw(maybe)))
    ends: list[FinishReason] = ["length", "content_filter", "tool_calls" if calls else "stop"]
    return [*events, Finish(draw(st.sampled_from(ends)))]


@given(streams(), st.data())
def test_what_is_written_is_read_back_as_it_was(
    events: list[StreamEvent], data: st.DataObject
) -> None:
    stream = renderer(usage=True)
    told = b""
    rest = events
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        told += stream.feed(rest[:size])
        rest = rest[size:]
    told += stream.close(TRACE)
    outcome = play(DIALECT, data.draw(cuttings(told)))
    assert outcome.error is None
    assert outcome.events == events


@given(streams(), st.booleans())
def test_no_stream_breaks_the_emitters_rules(events: list[StreamEvent], usage: bool) -> None:
    told = written(*events, usage=usage)
    assert told.isascii()
    assert b"\r" not in told
    assert told.endswith(b"\n\ndata: [DONE]\n\n")
    lines = told.decode().split("\n\n")[:-2]
    assert all(line.startswith("data: {") and "\n" not in line for line in lines)
    chunks = [json.loads(line[6:]) for line in lines]
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-abc"}
    assert {chunk["created"] for chunk in chunks} == {1760000000}
    assert all(isinstance(chunk["choices"], list) for chunk in chunks)
    deltas = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert [n for n, choice in enumerate(deltas) if "role" in choice["delta"]] == [0]
    finishes = [n for n, choice in enumerate(deltas) if choice["finish_reason"] is not None]
    assert finishes == [len(deltas) - 1]
    assert deltas[-1]["delta"] == {}
    assert usage or all("usage" not in chunk for chunk in chunks)


@given(streams())
def test_a_whole_answer_is_read_back_as_it_was(events: list[StreamEvent]) -> None:
    answer = fold(events)
    body = DIALECT.render_response(ChatRequest("auto", ()), answer, TRACE, lambda: 1.0)
    again = fold(DIALECT.parse_response(json.loads(json.dumps(body))))
    assert (again.text, again.reasoning, again.refusal) == (
        answer.text,
        answer.reasoning,
        answer.refusal,
    )
    assert again.tool_calls == answer.tool_calls
    assert again.usage == answer.usage
    assert again.finish == answer.finish
    assert again.model == "m1"


@pytest.mark.parametrize("batch", [1, 3])
def test_a_renderer_reads_its_clock_once(batch: int) -> None:
    ticks = iter([1.0])
    request = ChatRequest("auto", (), True, include_usage=True)
    stream = DIALECT.renderer(request, "abc", "m1", lambda: next(ticks))
    for _ in range(3):
        assert stream.feed([TextDelta("a")] * batch).count(b'"created":1,') >= batch
    assert b'"created":1,' in stream.feed([Usage(1, 1), Finish("stop")]) + stream.close(TRACE)
