"""Bytes of OpenAI-compatible upstreams -> events."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken, Limit, Rejected, UpstreamError
from chat.events import (
    Finish,
    ReasoningDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import fold
from dialects.openai import OpenAiDialect, OpenAiQuirks
from tests.dialects.cuts import (
    Recording,
    check_every_cut,
    check_pieces,
    check_recording,
    cuttings,
    play,
    recordings,
    stable,
)

DIALECT = OpenAiDialect()
THINKING = OpenAiDialect(OpenAiQuirks(think_tags=True))
RECORDINGS = recordings("openai")
NAMES = [recording.case.name for recording in RECORDINGS]


def chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "i", "model": "m", "choices": [choice], **more}


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(item) + b"\n\n" for item in chunks)


@pytest.mark.parametrize("recording", RECORDINGS, ids=NAMES)
def test_a_recorded_stream_means_the_same_however_it_was_cut(recording: Recording) -> None:
    check_recording(DIALECT, recording)


@given(st.data())
def test_random_cuts_change_nothing(data: st.DataObject) -> None:
    recording = data.draw(st.sampled_from(RECORDINGS))
    response = recording.response
    check_pieces(DIALECT, response, data.draw(cuttings(response)))


def test_every_recording_that_finished_can_be_folded() -> None:
    for recording in RECORDINGS:
        outcome = play(DIALECT, [recording.response])
        if outcome.error is None:
            assert fold(outcome.events).finish is outcome.events[-1]
            assert isinstance(outcome.events[0], Start)


def test_a_large_event_is_parsed() -> None:
    text = "x" * 300 * 1024
    outcome = play(DIALECT, [sse(chunk({"content": text}), chunk({}, "stop"))])
    assert outcome.events[1] == TextDelta(text)


def test_an_empty_answer_is_cut_and_not_a_success() -> None:
    outcome = play(DIALECT, [])
    assert isinstance(outcome.error, Broken)
    assert outcome.error.code == "cut"
    assert outcome.events == []


def test_html_of_a_proxy_is_not_an_answer() -> None:
    outcome = play(DIALECT, [b"<html><body>Bad gateway</body></html>"])
    assert isinstance(outcome.error, Broken)


def test_only_the_first_choice_is_read() -> None:
    second = {"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}
    stream = sse(chunk({"content": "a"}), {"choices": [second]}, chunk({}, "stop"))
    assert play(DIALECT, [stream]).events == [Start("i", "m"), TextDelta("a"), Finish("stop")]


def test_an_empty_finish_reason_is_no_finish() -> None:
    stream = sse(chunk({"content": "a"}, ""), chunk({"content": "b"}, ""), chunk({}, "length"))
    assert play(DIALECT, [stream]).events == [
        Start("i", "m"),
        TextDelta("a"),
        TextDelta("b"),
        Finish("length"),
    ]


def test_text_after_the_finish_reason_is_not_lost() -> None:
    stream = sse(chunk({"content": "a"}, "stop"), chunk({"content": "b"})) + b"data: [DONE]\n\n"
    assert play(DIALECT, [stream]).events[1:] == [TextDelta("a"), TextDelta("b"), Finish("stop")]


def test_a_fault_after_the_finish_reason_takes_nothing_back() -> None:
    for fault in (sse({"error": {"message": "late"}}), b'data: {"id":', b"error: late\n\n"):
        stream = sse(chunk({"content": "a"}), chunk({}, "stop")) + fault
        outcome = play(DIALECT, [stream])
        assert outcome.error is None
        assert outcome.events[-1] == Finish("stop")


def test_not_a_number_and_half_a_surrogate_pair_do_not_stop_a_stream() -> None:
    stream = (
        b'data: {"id":"i","model":"m","choices":[{"index":0,"delta":{"content":"a\\ud83d"},'
        b'"logprobs":{"content":[{"logprob":-Infinity}]},"finish_reason":null}]}\n\n'
    ) + sse(chunk({}, "stop"))
    assert check_every_cut(DIALECT, stream).events[1] == TextDelta("a\ufffd")


def test_an_error_event_that_is_no_json_is_still_told() -> None:
    outcome = play(DIALECT, [b"event: error\ndata: the engine died\n\n"])
    assert isinstance(outcome.error, Broken)
    assert outcome.error.message == "the engine died"


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ({"code": 429, "message": "slow"}, Limit, None),
        ({"code": "429", "message": "slow"}, Limit, None),
        ({"type": "invalid_request_error", "message": "bad"}, Rejected, "invalid_request_error"),
        ({"message": "prompt is too long", "code": 400}, Rejected, "context_length_exceeded"),
        ("just text", Broken, None),
        ({}, None, None),
    ],
)
def test_an_error_in_the_stream_says_what_to_do(
    error: Any, kind: type[UpstreamError] | None, code: str | None
) -> None:
    outcome = play(DIALECT, [sse({"error": error}, chunk({}, "stop"))])
    if kind is None:
        assert outcome.error is None
    else:
        assert type(outcome.error) is kind
        assert outcome.error.code == code
        assert outcome.error.upstream_status == (400 if kind is Rejected else None)


def test_an_id_that_comes_after_the_name_is_no_second_call() -> None:
    stream = sse(
        chunk({"tool_calls": [{"index": 0, "id": "", "function": {"name": "f"}}]}),
        chunk({"tool_calls": [{"index": 0, "id": "late", "function": {"arguments": "{}"}}]}),
        chunk({}, "stop"),
    )
    events = stable(play(DIALECT, [stream]).events)
    assert events[1:] == [
        ToolCallDelta(0, "generated-0", "f"),
        ToolCallDelta(0, arguments="{}"),
        Finish("tool_calls"),
    ]


def test_a_name_that_comes_late_holds_its_call_back() -> None:
    stream = sse(
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": '{"x"'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ":1}"}}]}),
        chunk({}, "tool_calls"),
    )
    assert play(DIALECT, [stream]).events[1:] == [
        ToolCallDelta(0, "a", "f", '{"x":1}'),
        Finish("tool_calls"),
    ]


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["f", "g", "long_name"]),
        st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=4), max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@given(CALLS, st.randoms(use_true_random=False))
def test_calls_in_any_interleaving_come_out_one_after_the_other(
    calls: list[tuple[str, dict[str, Any]]], random: Any
) -> None:
    waiting = []
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        cut = random.randint(0, len(text))
        head = {"index": index, "id": f"c{index}", "function": {"name": name, "arguments": ""}}
        pieces = [head]
        for piece in (text[:cut], text[cut:]):
            pieces.append({"index": index, "function": {"arguments": piece}})
        waiting.append(pieces)
    sent = [waiting[0].pop(0)]
    opened = 1
    while any(waiting):
        ready = [pieces for pieces in waiting[:opened] if pieces]
        if opened < len(waiting) and (not ready or random.random() < 0.5):
            opened += 1
            sent.append(waiting[opened - 1].pop(0))
            continue
        sent.append(random.choice(ready).pop(0))
    stream = sse(*(chunk({"tool_calls": [piece]}) for piece in sent), chunk({}, "tool_calls"))
    events = play(DIALECT, [stream]).events
    indexes = [event.index for event in events if isinstance(event, ToolCallDelta)]
    assert indexes == sorted(indexes)
    told = [(call.id, call.name, json.loads(call.arguments)) for call in fold(events).tool_calls]
    assert told == [(f"c{n}", name, arguments) for n, (name, arguments) in enumerate(calls)]


def thoughts_and_text(events: list[StreamEvent]) -> tuple[str, str]:
    response = fold(events)
    return response.reasoning, response.text


@pytest.mark.parametrize(
    ("said", "thought", "text"),
    [
        ("<think>Hmm.</think>42", "Hmm.", "42"),
        ("\n <think>\nHmm.\n</think>\n\n42", "\nHmm.\n", "\n\n42"),
        ("<think></think>42", "", "42"),
        ("<think>a < b </th </think>42</think>", "a < b </th ", "42</think>"),
        ("no thought <think>here</think>", "", "no thought <think>here</think>"),
        ("<thin", "", "<thin"),
        ("  ", "", "  "),
        ("<think>never shut </thi", "never shut </thi", ""),
        ("<b>bold</b>", "", "<b>bold</b>"),
    ],
)
def test_think_tags_part_thought_from_text_however_they_were_cut(
    said: str, thought: str, text: str
) -> None:
    for size in (1, 2, 3, 7, 100):
        pieces = [said[at : at + size] for at in range(0, len(said), size)]
        stream = sse(*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop"))
        assert thoughts_and_text(play(THINKING, [stream]).events) == (thought, text)


def test_think_tags_stay_in_the_text_unless_the_quirk_says_otherwise() -> None:
    stream = sse(chunk({"content": "<think>a</think>b"}), chunk({}, "stop"))
    assert play(DIALECT, [stream]).events[1] == TextDelta("<think>a</think>b")


def test_what_looked_like_a_tag_comes_before_the_call_that_follows_it() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    stream = sse(chunk({"content": "<"}), chunk({"tool_calls": [call]}), chunk({}, "stop"))
    assert play(THINKING, [stream]).events[1:] == [
        TextDelta("<"),
        ToolCallDelta(0, "c", "f", "{}"),
        Finish("tool_calls"),
    ]


WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "a",
                "reasoning_content": "hm",
                "tool_calls": [
                    {
                        "id": "c0",
                        "type": "function",
                        "function": {"name": "f", "arguments": ""},
                    },
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"x":1}'},
                    },
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


def test_a_whole_answer_gives_the_events_of_a_stream() -> None:
    assert DIALECT.parse_response(WHOLE) == [
        Start("chatcmpl-1", "m"),
        ReasoningDelta("hm"),
        TextDelta("a"),
        ToolCallDelta(0, "c0", "f", ""),
        Usage(3, 2),
        ToolCallDelta(0, arguments="{}"),
        ToolCallDelta(1, "c1", "f", '{"x":1}'),
        Finish("tool_calls"),
    ]


def test_a_whole_answer_without_a_finish_reason_is_finished() -> None:
    body = {"choices": [{"message": {"content": None}, "finish_reason": None}]}
    assert DIALECT.parse_response(body) == [Start(), Finish("stop")]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "slow", "code": 429}}, Limit),
        ({"error": "text"}, Broken),
        ({"object": "error", "message": "bad", "code": 400}, Rejected),
        ({"choices": []}, Broken),
        ({"choices": None}, Broken),
        ({}, Broken),
        ([{"error": {"message": "slow", "code": 429}}], Limit),
        ("text", Broken),
        (None, Broken),
        ({"choices": [{"index": 0}]}, Broken),
    ],
)
def test_a_whole_body_that_is_no_answer_raises(body: Any, kind: type[UpstreamError]) -> None:
    with pytest.raises(kind):
        DIALECT.parse_response(body)
