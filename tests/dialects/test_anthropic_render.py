"""Events -> Anthropic's frames, byte for byte, and back."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken, GatewayError, Limit, Refused
from chat.events import (
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import ChatResponse, fold
from chat.request import ChatRequest, Json, Message, Reasoning, Text, Tool, ToolCall
from chat.trace import Trace
from dialects.anthropic import AnthropicDialect
from tests.dialects.cuts import Recording, check_every_cut, frames_of, play, recordings

DIALECT = AnthropicDialect()
REQUEST = ChatRequest("auto", (Message("user", (Text("x" * 40),)),), stream=True)
TRACE = Trace("r1", model="claude-x")
SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"


def render(*batches: list[StreamEvent], request: ChatRequest = REQUEST) -> bytes:
    renderer = DIALECT.renderer(request, "r1", "auto", lambda: 0.0)
    return b"".join(map(renderer.feed, batches)) + renderer.close(TRACE)


def data_of(stream: bytes) -> list[Json]:
    return [orjson.loads(frame.data) for frame in frames_of(DIALECT.framing, [stream])]


def test_a_stream_is_these_bytes() -> None:
    stream = render(
        [Start("m", "gpt"), Usage(25, 1)],
        [ReasoningDelta("Hm\n"), ReasoningDelta(signature=SIGNATURE, vendor="anthropic")],
        [TextDelta("Hé"), TextDelta(""), TextDelta(" \u2028\U0001f642")],
        [ToolCallDelta(0, "t1", "f"), ToolCallDelta(0, arguments='{"a":')],
        [ToolCallDelta(0, arguments="1}"), ToolCallDelta(1, "t2", "g")],
        [Finish("tool_calls")],
        [Usage(25, 15, 5, 2, 3)],
    )
    assert stream.decode("ascii").split("\n\n") == [
        'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_r1",'
        '"type":"message","role":"assistant","model":"auto","content":[],"stop_reason":null,'
        '"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}',
        'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        '"content_block":{"type":"thinking","thinking":"","signature":""}}',
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"thinking_delta","thinking":"Hm\\n"}}',
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        f'"delta":{{"type":"signature_delta","signature":"{SIGNATURE}"}}}}',
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}',
        'event: content_block_start\ndata: {"type":"content_block_start","index":1,'
        '"content_block":{"type":"text","text":""}}',
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,'
        '"delta":{"type":"text_delta","text":"H\\u00e9"}}',
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,'
        '"delta":{"type":"text_delta","text":" \\u2028\\ud83d\\ude42"}}',
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":1}',
        'event: content_block_start\ndata: {"type":"content_block_start","index":2,'
        '"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}',
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":2,'
        '"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":"}}',
        'event: content_block_delta\ndata: {"type":"content_block_delta","index":2,'
        '"delta":{"type":"input_json_delta","partial_json":"1}"}}',
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":2}',
        'event: content_block_start\ndata: {"type":"content_block_start","index":3,'
        '"content_block":{"type":"tool_use","id":"t2","name":"g","input":{}}}',
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":3}',
        'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"tool_use",'
        '"stop_sequence":null},"usage":{"input_tokens":18,"cache_creation_input_tokens":2,'
        '"cache_read_input_tokens":5,"output_tokens":15,'
        '"output_tokens_details":{"thinking_tokens":3}}}',
        'event: message_stop\ndata: {"type":"message_stop"}',
        "",
    ]


def test_a_keepalive_is_a_ping_and_means_nothing() -> None:
    renderer = DIALECT.renderer(REQUEST, "r1", "auto", lambda: 0.0)
    assert renderer.keepalive == b'event: ping\ndata: {"type": "ping"}\n\n'
    pings = renderer.keepalive * 2
    stream = (
        pings + renderer.feed([Start(), TextDelta("a")]) + pings + renderer.feed([Finish("stop")])
    )
    outcome = check_every_cut(DIALECT, stream + renderer.close(TRACE))
    assert outcome.error is None
    assert fold(outcome.events).text == "a"


def test_tokens_are_more_than_none_at_the_start_and_right_at_the_end() -> None:
    first, *_, last, _ = data_of(
        render([Start()], [TextDelta("a")], [Finish("stop"), Usage(31, 4)])
    )
    assert first["message"]["usage"] == {"input_tokens": 10, "output_tokens": 1}
    assert last["usage"] == {"input_tokens": 31, "output_tokens": 4}
    first, *_, last, _ = data_of(render([Start(), Usage(5, 0, 5)], [Finish("stop")]))
    assert first["message"]["usage"]["input_tokens"] == 1
    assert last["usage"] == {
        "input_tokens": 0,
        "cache_read_input_tokens": 5,
        "output_tokens": 0,
    }


def test_an_estimate_counts_what_was_asked_and_is_at_least_one() -> None:
    tool = Tool("name", "four", {"type": "object"})
    asked = ChatRequest("m", (Message("user", (Text("x" * 15),)),), tools=(tool,))
    (first, *_) = data_of(render([Start(), Finish("stop")], request=asked))
    assert first["message"]["usage"]["input_tokens"] == (15 + 8 + 17) // 4
    (first, *_) = data_of(render([Start(), Finish("stop")], request=ChatRequest("m", ())))
    assert first["message"]["usage"]["input_tokens"] == 1


def test_output_that_nobody_counted_is_estimated() -> None:
    *_, last, _ = data_of(render([Start(), TextDelta("x" * 9), Finish("stop")]))
    assert last["usage"] == {"output_tokens": 3}


def test_the_start_is_written_with_the_first_batch() -> None:
    renderer = DIALECT.renderer(REQUEST, "r1", "auto", lambda: 0.0)
    assert renderer.feed([Start()]).startswith(b"event: message_start\n")
    assert renderer.feed([Usage(3)]) == b""
    assert renderer.feed([]) == b""


@pytest.mark.parametrize(
    ("finish", "reason", "sequence"),
    [
        (Finish("stop"), "end_turn", None),
        (Finish("stop", stop_sequence="END"), "stop_sequence", "END"),
        (Finish("stop", detail="pause_turn"), "pause_turn", None),
        (Finish("stop", detail="OTHER"), "end_turn", None),
        (Finish("length"), "max_tokens", None),
        (
            Finish("length", detail="model_context_window_exceeded"),
            "model_context_window_exceeded",
            None,
        ),
        (Finish("tool_calls", stop_sequence="x"), "tool_use", None),
        (Finish("content_filter", detail="SAFETY"), "refusal", None),
    ],
)
def test_every_finish_has_its_word(finish: Finish, reason: str, sequence: str | None) -> None:
    *_, last, _ = data_of(render([Start(), finish]))
    assert last["delta"] == {"stop_reason": reason, "stop_sequence": sequence}
    whole = DIALECT.render_response(REQUEST, fold([Start(), finish]), TRACE, lambda: 0.0)
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)


def test_a_refusal_is_shown_as_text_and_told_as_such() -> None:
    events: list[StreamEvent] = [
        Start(),
        RefusalDelta("I can"),
        RefusalDelta("not."),
        Finish("stop"),
    ]
    outcome = play(DIALECT, [render(events)])
    assert fold(outcome.events).text == "I cannot."
    assert fold(outcome.events).finish.reason == "content_filter"
    whole = DIALECT.render_response(REQUEST, fold(events), TRACE, lambda: 0.0)
    assert whole["content"] == [{"type": "text", "text": "I cannot."}]
    assert whole["stop_reason"] == "refusal"


def test_thoughts_that_the_caller_does_not_want_are_not_shown() -> None:
    request = ChatRequest("m", REQUEST.messages, include_thoughts=False)
    events: list[StreamEvent] = [
        Start(),
        ReasoningDelta("unsigned"),
        TextDelta("a"),
        ReasoningDelta("signed"),
        ReasoningDelta(signature=SIGNATURE, vendor="anthropic"),
        Finish("stop"),
    ]
    response = fold(play(DIALECT, [render(events, request=request)]).events)
    assert response.parts == (Text("a"), Reasoning("", SIGNATURE, vendor="anthropic"))
    whole = DIALECT.render_response(request, fold(events), TRACE, lambda: 0.0)
    assert [block["type"] for block in whole["content"]] == ["text", "thinking"]
    assert whole["content"][1] == {"type": "thinking", "thinking": "", "signature": SIGNATURE}


@pytest.mark.parametrize("began", [True, False])
def test_a_failure_is_an_error_event_and_then_nothing(began: bool) -> None:
    renderer = DIALECT.renderer(REQUEST, "r1", "auto", lambda: 0.0)
    before = renderer.feed([Start(), TextDelta("Hel")]) if began else b""
    after = renderer.fail(Limit("slow down"))
    assert after == (
        b'event: error\ndata: {"type":"error","error":'
        b'{"type":"rate_limit_error","message":"slow down"}}\n\n'
    )
    outcome = play(DIALECT, [before + after])
    assert isinstance(outcome.error, Limit)
    assert bool(outcome.events) == began


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Broken("x", code="overloaded"), "overloaded_error"),
        (Refused("x"), "api_error"),
        (GatewayError("x"), "api_error"),
    ],
)
def test_a_failure_amid_a_stream_has_its_type(failure: GatewayError, kind: str) -> None:
    renderer = DIALECT.renderer(REQUEST, "r1", "auto", lambda: 0.0)
    (told,) = data_of(renderer.fail(failure))
    assert told["error"]["type"] == kind


def test_a_stream_that_did_not_finish_does_not_close_as_a_success() -> None:
    renderer = DIALECT.renderer(REQUEST, "r1", "auto", lambda: 0.0)
    stream = renderer.feed([Start(), TextDelta("Hel")]) + renderer.close(TRACE)
    assert b"message_stop" not in stream
    assert play(DIALECT, [stream]).error is not None


def test_a_whole_answer_is_one_message() -> None:
    response = ChatResponse(
        "id",
        "m",
        (
            Reasoning("Hm", SIGNATURE, vendor="anthropic"),
            Reasoning(redacted="EmwK", vendor="anthropic"),
            Text("a"),
            ToolCall("t1", "f", '{"a":1}'),
            ToolCall("t2", "f", "{"),
        ),
        Finish("tool_calls"),
        Usage(10, 4, 3),
    )
    assert DIALECT.render_response(REQUEST, response, TRACE, lambda: 0.0) == {
        "id": "msg_r1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": SIGNATURE},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "t2", "name": "f", "input": {"_raw": "{"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 4},
    }


def test_a_whole_answer_without_usage_is_estimated() -> None:
    response = fold([Start(), TextDelta("12345"), Finish("stop")])
    whole = DIALECT.render_response(REQUEST, response, Trace(""), lambda: 0.0)
    assert whole["usage"] == {"input_tokens": 10, "output_tokens": 2}
    assert whole["model"] == "auto"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
TOKENS = st.integers(0, 999)


@st.composite
def streams(draw: st.DrawFn) -> list[StreamEvent]:
    """What an upstream may say: blocks in any order, pieces of any length."""
    events: list[StreamEvent] = [Start("id", "m")]
    calls = 0
    for kind in draw(st.lists(st.sampled_from(["text", "thought", "redacted", "call", "usage"]))):
        pieces = draw(st.lists(TEXTS, min_size=1, max_size=3))
        if kind == "text":
            events += map(TextDelta, pieces)
        elif kind == "thought":
            events += map(ReasoningDelta, pieces)
            events.append(ReasoningDelta(signature=SIGNATURE, vendor="anthropic"))
        elif kind == "redacted":
            events.append(ReasoningDelta(redacted=pieces[0], vendor="anthropic"))
        elif kind == "usage":
            events.append(draw(usages()))
        else:
            events.append(ToolCallDelta(calls, f"call_{calls}", pieces[0]))
            events += [ToolCallDelta(calls, arguments=piece) for piece in pieces]
            calls += 1
    reason = draw(st.sampled_from(["length", "content_filter", "end"]))
    sequence = None if calls else draw(st.none() | TEXTS)
    if reason == "length":
        events.append(Finish("length"))
    elif reason == "content_filter":
        events.append(Finish("content_filter"))
    else:
        events.append(Finish("tool_calls" if calls else "stop", sequence))
    return [*events, draw(usages())]


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    fresh, read, written = draw(TOKENS), draw(TOKENS), draw(TOKENS)
    thoughts = draw(st.none() | TOKENS)
    return Usage(fresh + read + written, draw(TOKENS), read, written, thoughts)


def pieces_of(events: list[StreamEvent], sizes: list[int]) -> list[list[StreamEvent]]:
    batches: list[list[StreamEvent]] = []
    rest = events
    for size in sizes:
        batches.append(rest[:size])
        rest = rest[size:]
    return [*batches, rest]


@given(streams(), st.lists(st.integers(0, 4), max_size=8))
def test_events_to_frames_to_events_is_the_identity(
    events: list[StreamEvent], sizes: list[int]
) -> None:
    stream = render(*pieces_of(events, sizes))
    outcome = play(DIALECT, [stream])
    assert outcome.error is None
    said = [event for event in events if not isinstance(event, Usage | Start)]
    assert [event for event in outcome.events if not isinstance(event, Usage | Start)] == said
    assert isinstance(outcome.events[0], Start)
    before, after = fold(events), fold(outcome.events)
    assert (after.parts, after.finish, after.usage) == (before.parts, before.finish, before.usage)
    assert after.model == "auto"


@given(streams())
def test_a_whole_answer_read_again_is_the_same(events: list[StreamEvent]) -> None:
    response = fold(events)
    whole = DIALECT.render_response(REQUEST, response, TRACE, lambda: 0.0)
    again = fold(DIALECT.parse_response(orjson.loads(orjson.dumps(whole))))
    assert again.usage == response.usage
    assert again.finish == response.finish
    assert [part for part in again.parts if not isinstance(part, ToolCall)] == [
        part for part in response.parts if not isinstance(part, ToolCall)
    ]


@given(streams())
def test_frames_keep_what_strict_clients_want(events: list[StreamEvent]) -> None:
    stream = render(events)
    assert stream.isascii()
    assert b"\r" not in stream
    assert b"[DONE]" not in stream
    frames = stream.decode().split("\n\n")
    assert frames.pop() == ""
    open_block = None
    index = -1
    for frame in frames:
        name, data = frame.split("\n")
        said = orjson.loads(data.removeprefix("data: "))
        assert name == f"event: {said['type']}"
        if said["type"] == "content_block_start":
            index += 1
            assert (open_block, said["index"]) == (None, index)
            open_block = index
        elif said["type"] in ("content_block_delta", "content_block_stop"):
            assert said["index"] == open_block
            if said["type"] == "content_block_stop":
                open_block = None
    kinds = [frame.split("\n")[0] for frame in frames]
    assert kinds[0] == "event: message_start"
    assert kinds[-2:] == ["event: message_delta", "event: message_stop"]
    assert open_block is None


@pytest.mark.parametrize("case", recordings("anthropic"), ids=lambda case: case.case.name)
def test_a_recording_told_again_means_the_same(case: Recording) -> None:
    outcome = play(DIALECT, [case.response])
    if outcome.error is not None or case.case.name == "refusal":
        return
    before = fold(outcome.events)
    after = fold(play(DIALECT, [render(outcome.events)]).events)
    assert (after.parts, after.finish) == (before.parts, before.finish)
    if before.usage.output_tokens is not None:
        assert after.usage == before.usage
