"""An Anthropic upstream's bytes -> events: recordings, every cut of them, and any JSON at all."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import Broken, Denied, Rejected, Timeout, UpstreamError
from chat.events import Finish, ReasoningDelta, Start, StreamEvent, TextDelta, ToolCallDelta, Usage
from chat.fold import fold
from chat.request import Json
from dialects.anthropic import AnthropicDialect
from dialects.framing import Frame
from tests.dialects.cuts import (
    Recording,
    check_every_cut,
    check_pieces,
    check_recording,
    cuttings,
    frames_of,
    recordings,
)

DIALECT = AnthropicDialect()
CASES = recordings("anthropic")
WORDS = st.sampled_from(
    [
        "type",
        "message",
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "content_block",
        "index",
        "delta",
        "text",
        "text_delta",
        "thinking",
        "thinking_delta",
        "signature",
        "signature_delta",
        "redacted_thinking",
        "data",
        "tool_use",
        "id",
        "name",
        "input",
        "input_json_delta",
        "partial_json",
        "usage",
        "input_tokens",
        "output_tokens",
        "output_tokens_details",
        "thinking_tokens",
        "stop_reason",
        "stop_details",
        "stop_sequence",
        "explanation",
        "refusal",
        "content",
        "error",
        "ping",
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-9, 2**63) | st.floats(allow_nan=False) | st.text()
)
ANY_JSON = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


def sse(*events: Json) -> bytes:
    frames = [Frame(orjson.dumps(event), event["type"].encode()) for event in events]
    return b"".join(DIALECT.framing.encode(frame) for frame in frames)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.case.name)
def test_a_recording_means_its_events_wherever_it_is_cut(case: Recording) -> None:
    check_recording(DIALECT, case)


@given(st.sampled_from(CASES).flatmap(lambda c: st.tuples(st.just(c), cuttings(c.response))))
def test_random_cuts_change_nothing(chosen: tuple[Recording, list[bytes]]) -> None:
    case, pieces = chosen
    check_pieces(DIALECT, case.response, pieces)


def test_lines_may_end_in_lf_crlf_or_cr() -> None:
    data = next(case.response for case in CASES if case.case.name == "thinking_text_two_tools")
    outcome = check_every_cut(DIALECT, data)
    for ending in (b"\r\n", b"\r"):
        other = check_every_cut(DIALECT, data.replace(b"\n", ending))
        assert other.events == outcome.events


def test_nothing_is_read_behind_message_stop() -> None:
    parser = DIALECT.parser()
    parser.feed(Frame(b'{"type":"message_start","message":{"id":"m","model":"c"}}'))
    assert not parser.done
    last = parser.feed(Frame(b'{"type":"message_stop"}'))
    assert list(last) == [Finish("stop")]
    assert parser.done
    assert list(parser.feed(Frame(b"not json"))) == []
    assert list(parser.close()) == []


def test_an_event_of_300_kib_is_read() -> None:
    text = "x" * 300 * 1024
    outcome = check_every_cut_sparsely(
        sse(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            },
            {"type": "message_stop"},
        )
    )
    assert outcome == [Start(), TextDelta(text), Finish("stop")]


def check_every_cut_sparsely(data: bytes) -> list[object]:
    decoder = DIALECT.framing.decoder()
    parser = DIALECT.parser()
    events: list[object] = []
    for at in range(0, len(data), 65536):
        for frame in decoder.feed(data[at : at + 65536]):
            events += parser.feed(frame)
    return [*events, *parser.close()]


def test_a_thought_without_a_signature_is_kept_as_a_thought() -> None:
    events = DIALECT.parse_response(
        {"content": [{"type": "thinking", "thinking": "Hm."}], "stop_reason": "end_turn"}
    )
    assert list(events) == [Start(), ReasoningDelta("Hm."), Finish("stop")]


def test_arguments_that_came_whole_give_way_to_pieces() -> None:
    block = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}
    delta = {"type": "input_json_delta", "partial_json": '{"a": 1}'}
    data = sse(
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    )
    check_every_cut(
        DIALECT,
        data,
        [
            Start(),
            ToolCallDelta(0, "t1", "f"),
            ToolCallDelta(0, arguments='{"a": 1}'),
            Finish("tool_calls"),
        ],
    )


def test_arguments_of_a_call_that_is_not_open_are_malformed() -> None:
    def start(index: int) -> Json:
        block = {"type": "tool_use", "id": f"t{index}", "name": "f", "input": {}}
        return {"type": "content_block_start", "index": index, "content_block": block}

    delta = {"type": "input_json_delta", "partial_json": "{}"}
    data = sse(start(0), start(1), {"type": "content_block_delta", "index": 0, "delta": delta})
    outcome = check_every_cut(DIALECT, data)
    assert isinstance(outcome.error, Broken)
    assert outcome.error.code == "malformed"


def test_calls_end_as_tool_calls_only_when_there_was_one() -> None:
    assert list(DIALECT.parse_response({"content": [], "stop_reason": "tool_use"})) == [
        Start(),
        Finish("stop"),
    ]
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    events = DIALECT.parse_response({"content": [call], "stop_reason": "end_turn"})
    assert events[-1] == Finish("tool_calls")


def test_a_reason_that_nobody_knows_is_told_in_detail() -> None:
    events = DIALECT.parse_response({"content": [], "stop_reason": "sunset"})
    assert events[-1] == Finish("stop", detail="sunset")


def test_a_one_shot_answer_folds_into_its_parts() -> None:
    case = next(case for case in CASES if case.case.name == "whole_body")
    response = fold(DIALECT.parse_response(orjson.loads(case.response)))
    assert response.text == "Hello"
    assert response.reasoning == "Hm."
    assert [call.arguments for call in response.tool_calls] == ['{"city":"Rome"}']
    assert response.usage == Usage(15, 20, 5, 0)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("authentication_error", Denied),
        ("permission_error", Denied),
        ("billing_error", Denied),
        ("invalid_request_error", Rejected),
        ("request_too_large", Rejected),
        ("api_error", Broken),
        ("timeout_error", Timeout),
        ("a_new_error", Broken),
    ],
)
def test_an_error_in_band_is_named_by_its_type(kind: str, error: type[UpstreamError]) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "no"}}
    with pytest.raises(error, match="no"):
        DIALECT.parser().feed(Frame(orjson.dumps(body), b"error"))
    with pytest.raises(error, match="no"):
        DIALECT.parse_response(body)


@pytest.mark.parametrize("body", [None, 3, "text", [], {}, {"content": "text"}])
def test_what_is_no_answer_is_malformed(body: Json) -> None:
    with pytest.raises(Broken) as caught:
        DIALECT.parse_response(body)
    assert caught.value.code == "malformed"


def spoiled(value: Json, draw: st.DrawFn) -> Json:
    """`value` with something else in one place."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: spoiled(value[name], draw)}
    return draw(ANY_JSON)


@st.composite
def spoiled_streams(draw: st.DrawFn) -> list[Frame]:
    """A recording with one event spoiled, left out or sent twice."""
    case = draw(st.sampled_from([case for case in CASES if b"message_start" in case.response]))
    frames = frames_of(DIALECT.framing, [case.response])
    at = draw(st.integers(0, len(frames) - 1))
    frame = frames[at]
    deed = draw(st.sampled_from(["spoil", "drop", "double"]))
    if deed == "spoil" and frame.data.startswith(b"{") and frame.data.endswith(b"}"):
        data = orjson.dumps(spoiled(orjson.loads(frame.data), draw))
        return [*frames[:at], Frame(data, frame.event), *frames[at + 1 :]]
    return frames[:at] + [frame] * (2 if deed == "double" else 0) + frames[at + 1 :]


def check_never_crashes(frames: list[Frame]) -> None:
    """Events that hold what a stream promises, or an UpstreamError, and nothing else."""
    parser = DIALECT.parser()
    events: list[StreamEvent] = []
    failure = None
    try:
        for frame in frames:
            events += parser.feed(frame)
        events += parser.close()
    except UpstreamError as error:
        failure = error
    if failure is None:
        assert isinstance(events[-1], Finish)
    else:
        assert len(failure.message) <= 500
    assert not events or isinstance(events[0], Start)
    assert sum(isinstance(event, Start) for event in events) <= 1
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    begun = [event for event in calls if event.id]
    assert [call.index for call in begun] == list(range(len(begun)))
    assert all(call.name for call in begun)
    assert [call.index for call in calls] == sorted(call.index for call in calls)
    assert len({call.id for call in begun}) == len(begun)


@given(st.lists(st.tuples(ANY_JSON, st.sampled_from([b"", b"error", b"ping", b"\xff"]))))
def test_any_json_gives_events_or_an_upstream_error(frames: list[tuple[Json, bytes]]) -> None:
    check_never_crashes([Frame(orjson.dumps(value), name) for value, name in frames])


@given(spoiled_streams())
@settings(max_examples=400)
def test_a_spoiled_stream_gives_events_or_an_upstream_error(frames: list[Frame]) -> None:
    check_never_crashes(frames)


@given(st.binary(max_size=40))
def test_any_bytes_give_events_or_an_upstream_error(data: bytes) -> None:
    check_never_crashes([Frame(data)])


@given(ANY_JSON)
def test_any_body_gives_events_or_an_upstream_error(body: Json) -> None:
    try:
        events = DIALECT.parse_response(body)
    except UpstreamError:
        return
    assert isinstance(events[0], Start)
    assert isinstance(events[-1], Finish)
