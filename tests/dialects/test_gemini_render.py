"""Events -> Gemini's bytes, exact to the letter (PROTOCOLS 1.3, 6.7; Q02)."""

from __future__ import annotations

import re
from base64 import b64encode
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import (
    BadRequest,
    BudgetReached,
    Denied,
    Draining,
    GatewayError,
    LimitReached,
    MethodNotAllowed,
    ModelNotFound,
    NotAllowed,
    NoTargetLeft,
    NotIdentified,
    QueueFull,
    Refused,
    Rejected,
    Timeout,
    TooLarge,
)
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
from chat.fold import fold
from chat.request import ChatRequest, Json, Message, Text
from chat.trace import Trace
from dialects.base import RelayDialect
from dialects.gemini import GeminiDialect
from dialects.gemini.reasons import REASONS
from dialects.gemini.respond import GeminiRenderer
from tests.dialects.cuts import bytewise, play

DIALECT = GeminiDialect()
TRACE = Trace("r-1")
TAIL = b'],"role":"model"},"index":0}],"modelVersion":"fast","responseId":"r-1"}\r\n\r\n'


def now() -> float:
    return 0.0


def asked(thoughts: bool | None = True) -> ChatRequest:
    messages = (Message("user", (Text("hi"),)),)
    return ChatRequest("fast", messages, stream=True, include_thoughts=thoughts)


def rendering(thoughts: bool | None = True) -> GeminiRenderer:
    return DIALECT.renderer(asked(thoughts), "r-1", "fast", now)


def test_the_dialect_speaks_at_both_ends() -> None:
    dialect: RelayDialect = DIALECT
    assert (dialect.name, dialect.framing.content_type) == (
        "gemini",
        "text/event-stream; charset=utf-8",
    )


def test_the_bytes_of_a_stream_are_exact() -> None:
    renderer = rendering()
    assert renderer.keepalive == b"\r\n"
    assert renderer.feed([Start("up", "upstream")]) == b""
    assert renderer.feed([TextDelta("Hi"), TextDelta(' "é\u2028\u0085\n\U0001f642')]) == (
        b'data: {"candidates":[{"content":{"parts":[{"text":"Hi"}' + TAIL + b"data: "
        b'{"candidates":[{"content":{"parts":[{"text":" \\"\\u00e9\\u2028\\u0085\\n\\ud83d\\ude42"}'
        + TAIL
    )
    assert renderer.feed([ReasoningDelta("hm", "c2ln", vendor="gemini")]) == (
        b'data: {"candidates":[{"content":{"parts":'
        b'[{"text":"hm","thought":true,"thoughtSignature":"c2ln"}' + TAIL
    )
    assert renderer.feed([ToolCallDelta(0, "c1", "f", '{"a":', "c2lo")]) == b""
    assert renderer.feed([ToolCallDelta(0, arguments='"é"}')]) == b""
    assert renderer.feed([Usage(3, 9, cached_tokens=2, reasoning_tokens=4)]) == b""
    assert renderer.feed([Finish("tool_calls")]) == (
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":'
        b'{"id":"c1","name":"f","args":{"a":"\\u00e9"}},"thoughtSignature":"c2lo"}' + TAIL
    )
    assert renderer.close(TRACE) == (
        b'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},'
        b'"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":3,'
        b'"candidatesTokenCount":5,"totalTokenCount":12,"cachedContentTokenCount":2,'
        b'"thoughtsTokenCount":4},"modelVersion":"fast","responseId":"r-1"}\r\n\r\n'
    )


def test_a_failure_ends_the_stream_with_googles_error() -> None:
    renderer = rendering()
    renderer.feed([TextDelta("On"), ToolCallDelta(0, "c1", "f", '{"a')])
    assert renderer.fail(QueueFull("Too many é.", retry_after=2)) == (
        b'data: {"error":{"code":503,"message":"Too many \\u00e9.","status":"UNAVAILABLE",'
        b'"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"}]}}'
        b"\r\n\r\n"
    )


def test_thoughts_are_shown_to_who_asked_only() -> None:
    for thoughts in (None, False):
        assert rendering(thoughts).feed([ReasoningDelta("hm", "c2ln", vendor="gemini")]) == b""
    assert rendering(True).feed([ReasoningDelta(redacted="x", vendor="anthropic")]) == b""


def test_a_signature_that_would_break_googles_sdk_is_not_written() -> None:
    written = rendering().feed(
        [ReasoningDelta("hm", "not base64!", vendor="gemini"), TextDelta("so")]
    )
    assert b"thoughtSignature" not in written
    assert b'"text":"hm"' in written


def test_a_refusal_is_told_in_words() -> None:
    renderer = rendering()
    assert b'"text":"No."' in renderer.feed([RefusalDelta("No."), Finish("content_filter")])
    assert b'"finishReason":"SAFETY"' in renderer.close(TRACE)


def test_calls_are_written_before_the_text_that_follows_them() -> None:
    written = rendering().feed(
        [ToolCallDelta(0, "c1", "f"), ToolCallDelta(1, "c2", "g", "[broken"), TextDelta("so")]
    )
    frames = [orjson.loads(line[6:]) for line in written.split(b"\r\n") if line]
    assert [frame["candidates"][0]["content"]["parts"][0] for frame in frames] == [
        {"functionCall": {"id": "c1", "name": "f", "args": {}}},
        {"functionCall": {"id": "c2", "name": "g", "args": {"_raw": "[broken"}}},
        {"text": "so"},
    ]


def test_the_events_of_others_are_left_as_they_were() -> None:
    first = ToolCallDelta(0, "c1", "f", "{")
    rendering().feed([first, ToolCallDelta(0, arguments="}", signature="c2ln")])
    assert first == ToolCallDelta(0, "c1", "f", "{")


@pytest.mark.parametrize(
    ("finish", "told"),
    [
        (Finish("stop", stop_sequence="x"), "STOP"),
        (Finish("length"), "MAX_TOKENS"),
        (Finish("tool_calls"), "STOP"),
        (Finish("content_filter"), "SAFETY"),
        (Finish("content_filter", detail="RECITATION"), "RECITATION"),
        (Finish("content_filter", detail="refusal"), "SAFETY"),
        (Finish("stop", detail="pause_turn"), "STOP"),
        (Finish("stop", detail="SAFETY"), "STOP"),
    ],
)
def test_finish_reasons_follow_the_table(finish: Finish, told: str) -> None:
    renderer = rendering()
    renderer.feed([finish])
    assert f'"finishReason":"{told}"'.encode() in renderer.close(TRACE)


def objects() -> st.SearchStrategy[Json]:
    atoms = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text())
    inner = st.recursive(
        atoms,
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=6,
    )
    return st.dictionaries(st.text(), inner, max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> list[StreamEvent]:
    """A whole stream as our own parser would tell it."""
    encoded = st.binary(min_size=1).map(lambda data: b64encode(data).decode())
    signatures = st.one_of(st.none(), encoded)
    events: list[StreamEvent] = [Start("r-1", "fast")]
    calls = 0
    for kind in draw(st.lists(st.sampled_from(["text", "thought", "call"]), max_size=8)):
        if kind == "text":
            events.append(TextDelta(draw(st.text(min_size=1))))
        elif kind == "thought":
            text, signature = draw(st.text(min_size=1)), draw(signatures)
            vendor = "gemini" if signature else None
            events.append(ReasoningDelta(text, signature, vendor=vendor))
        else:
            arguments = orjson.dumps(draw(objects())).decode()
            name = draw(st.text(min_size=1))
            events.append(ToolCallDelta(calls, f"call-{calls}", name, arguments, draw(signatures)))
            calls += 1
    count = st.integers(0, 10**9)
    reasoning = draw(st.one_of(st.none(), count))
    output = draw(count) + (reasoning or 0)
    cached = draw(st.one_of(st.none(), count))
    events.append(Usage(draw(count), output, cached_tokens=cached, reasoning_tokens=reasoning))
    told = draw(st.sampled_from(sorted(REASONS)))
    reason: FinishReason = REASONS[told]
    if reason == "stop" and calls:
        reason = "tool_calls"
    detail = None if told in ("STOP", "MAX_TOKENS") else told
    return [*events, Finish(reason, detail=detail)]


@settings(max_examples=150)
@given(events=answers(), size=st.integers(1, 5))
def test_events_to_frames_to_events_is_the_identity(events: list[StreamEvent], size: int) -> None:
    renderer = rendering()
    written = b"".join(
        renderer.feed(events[at : at + size]) + renderer.keepalive
        for at in range(0, len(events), size)
    )
    written += renderer.close(TRACE)
    for pieces in ([written], bytewise(written)):
        outcome = play(DIALECT, pieces)
        assert outcome.error is None
        assert outcome.events == events


@settings(max_examples=100)
@given(events=answers(), cuts=st.lists(st.integers(0, 40), max_size=3))
def test_a_call_in_pieces_is_written_whole(events: list[StreamEvent], cuts: list[int]) -> None:
    pieces: list[StreamEvent] = []
    for event in events:
        if not isinstance(event, ToolCallDelta):
            pieces.append(event)
            continue
        pieces.append(ToolCallDelta(event.index, event.id, event.name))
        text = event.arguments
        for start, end in pairwise([0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]):
            pieces.append(ToolCallDelta(event.index, arguments=text[start:end]))
        pieces.append(ToolCallDelta(event.index, signature=event.signature))
    one, other = rendering(), rendering()
    assert one.feed(pieces) + one.close(TRACE) == other.feed(events) + other.close(TRACE)


@settings(max_examples=100)
@given(events=answers())
def test_only_data_lines_and_blank_lines_are_written(events: list[StreamEvent]) -> None:
    renderer = rendering()
    written = renderer.feed(events) + renderer.keepalive + renderer.close(TRACE)
    written += renderer.fail(GatewayError("x"))
    assert written.isascii()
    assert written.count(b"\n") == written.count(b"\r\n") == written.count(b"\r")
    for line in written.split(b"\r\n"):
        assert line == b"" or re.match(rb"data: \{", line)
    assert b"[DONE]" not in written


@settings(max_examples=100)
@given(events=answers())
def test_a_whole_answer_means_what_its_stream_means(events: list[StreamEvent]) -> None:
    response = fold(events)
    body = DIALECT.render_response(asked(), response, TRACE, now)
    assert fold(DIALECT.parse_response(body)) == response


def test_an_answer_without_content_has_an_empty_text() -> None:
    response = fold([Start(), Usage(), Finish("length")])
    assert DIALECT.render_response(asked(), response, TRACE, now) == {
        "candidates": [
            {
                "content": {"parts": [{"text": ""}], "role": "model"},
                "finishReason": "MAX_TOKENS",
                "index": 0,
            }
        ],
        "modelVersion": "fast",
        "responseId": "r-1",
    }


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (BadRequest("m"), 400, "INVALID_ARGUMENT"),
        (TooLarge("m"), 413, "INVALID_ARGUMENT"),
        (NotIdentified("m"), 401, "UNAUTHENTICATED"),
        (NotAllowed("m"), 403, "PERMISSION_DENIED"),
        (ModelNotFound("m"), 404, "NOT_FOUND"),
        (MethodNotAllowed("m"), 405, "UNIMPLEMENTED"),
        (LimitReached("m"), 429, "RESOURCE_EXHAUSTED"),
        (BudgetReached("m"), 429, "RESOURCE_EXHAUSTED"),
        (QueueFull("m"), 503, "UNAVAILABLE"),
        (Draining("m"), 503, "UNAVAILABLE"),
        (Refused("m"), 502, "UNAVAILABLE"),
        (Timeout("m"), 504, "DEADLINE_EXCEEDED"),
        (Denied("m", upstream_status=401), 502, "UNAVAILABLE"),
        (Rejected("m", upstream_status=404), 404, "NOT_FOUND"),
        (Rejected("m", upstream_status=422), 422, "INVALID_ARGUMENT"),
        (NoTargetLeft("m", last=Timeout("x")), 504, "DEADLINE_EXCEEDED"),
        (GatewayError("m"), 500, "INTERNAL"),
    ],
)
def test_an_error_has_googles_shape(error: GatewayError, code: int, status: str) -> None:
    told = DIALECT.render_error(error)["error"]
    assert (told["code"], told["status"]) == (code, status)
    assert told["message"] == error.message


def test_an_error_tells_the_field_the_code_and_the_delay() -> None:
    error = BadRequest("topK must be a number.", param="topK", code="wrong", retry_after=1.25)
    assert DIALECT.render_error(error) == {
        "error": {
            "code": 400,
            "message": "topK must be a number.",
            "status": "INVALID_ARGUMENT",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "WRONG",
                    "domain": "pointsman",
                },
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "topK", "description": "topK must be a number."}],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.25s"},
            ],
        }
    }


def test_our_own_errors_are_read_as_what_they_are() -> None:
    body = orjson.dumps(DIALECT.render_error(LimitReached("slow down", retry_after=7)))
    error = DIALECT.parse_error(429, {}, body)
    assert (error.status, error.message, error.retry_after) == (429, "slow down", 7.0)
