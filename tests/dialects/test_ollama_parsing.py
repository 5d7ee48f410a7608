"""What an Ollama server sends, read: streams, one-shot answers, errors."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken, Denied, Limit, Rejected, UpstreamError
from chat.events import Finish, Start, StreamEvent, TextDelta, ToolCallDelta, Usage
from dialects.base import OutboundDialect
from dialects.framing import Frame
from dialects.ollama import OllamaDialect
from tests.dialects.cuts import Recording, check_pieces, check_recording, cuttings, play, recordings

DIALECT: OutboundDialect = OllamaDialect()
CASES = recordings("ollama")


# The stream.


@pytest.mark.parametrize("recording", CASES, ids=lambda recording: str(recording.case.name))
def test_a_recording_means_the_same_wherever_it_is_cut(recording: Recording) -> None:
    check_recording(DIALECT, recording)


@pytest.mark.parametrize("recording", CASES, ids=lambda recording: str(recording.case.name))
@given(data=st.data())
def test_a_recording_means_the_same_at_random_cuts(
    recording: Recording, data: st.DataObject
) -> None:
    check_pieces(DIALECT, recording.response, data.draw(cuttings(recording.response)))


def test_a_long_line_is_read_whole() -> None:
    text = "é" * 150_000
    line = json.dumps({"model": "m", "message": {"content": text}, "done": True}).encode()
    assert len(line) > 300_000
    pieces = [line[at : at + 65536] for at in range(0, len(line), 65536)]
    assert play(DIALECT, pieces).events == [Start(model="m"), TextDelta(text), Finish("stop")]


def test_the_parser_says_when_it_is_done() -> None:
    parser = DIALECT.parser()
    parser.feed(Frame(b'{"message":{"content":"a"},"done":false}'))
    assert parser.done is False
    parser.feed(Frame(b'{"done":true}'))
    assert parser.done is True
    assert list(parser.feed(Frame(b"what is no JSON"))) == []
    assert list(parser.close()) == []


def test_made_up_ids_of_tool_calls_are_unique_over_streams() -> None:
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":true}'
    ids = set()
    for _ in range(50):
        (call,) = (e for e in DIALECT.parser().feed(Frame(line)) if isinstance(e, ToolCallDelta))
        ids.add(call.id)
    assert len(ids) == 50


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        *("model", "message", "content", "thinking", "tool_calls", "function", "name"),
        *("arguments", "id", "done", "done_reason", "prompt_eval_count", "eval_count"),
        *("error", "status_code"),
    ]
)
LIKELY = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9999) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=25,
)


@given(st.lists(JSON_VALUES | LIKELY | st.dictionaries(FIELDS, LIKELY), max_size=4))
def test_whatever_json_comes_it_is_events_or_an_upstream_error(values: list[Any]) -> None:
    data = b"".join(orjson.dumps(value) + b"\n" for value in values)
    outcome = play(DIALECT, [data])
    events = outcome.events
    assert not events or isinstance(events[0], Start)
    assert sum(isinstance(event, Finish) for event in events) == (outcome.error is None)


@given(st.dictionaries(FIELDS, LIKELY) | JSON_VALUES)
def test_whatever_one_shot_answer_comes_it_is_events_or_an_upstream_error(body: Any) -> None:
    try:
        events = DIALECT.parse_response(body)
    except UpstreamError:
        return
    assert isinstance(events[0], Start)
    assert isinstance(events[-1], Finish)


@given(st.binary(max_size=80))
def test_whatever_bytes_come_they_are_events_or_an_upstream_error(data: bytes) -> None:
    outcome = play(DIALECT, [data])
    assert outcome.error is None or isinstance(outcome.error, UpstreamError)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_arguments_nested_too_deep_are_malformed_and_no_crash(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    deep = opening * 600 + b"1" + closing * 600
    line = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + deep + b"}}]}}"
    error = play(DIALECT, [line]).error
    assert isinstance(error, Broken)
    assert error.code == "malformed"


# The one-shot answer.


def test_a_one_shot_answer_is_events() -> None:
    body = {
        "model": "llama3.2",
        "message": {
            "role": "assistant",
            "content": "Hello",
            "tool_calls": [{"id": "call_9", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 4,
    }
    expected: list[StreamEvent] = [
        Start(model="llama3.2"),
        TextDelta("Hello"),
        ToolCallDelta(0, "call_9", "f", '{"a":1}'),
        Usage(3, 4),
        Finish("tool_calls"),
    ]
    assert list(DIALECT.parse_response(body)) == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "malformed"),
        ("Ollama is running", "malformed"),
        ({}, "cut"),
        ({"message": {"content": "Hel"}, "done": False}, "cut"),
    ],
)
def test_a_one_shot_answer_that_is_none_is_broken(body: Any, code: str) -> None:
    with pytest.raises(Broken) as caught:
        DIALECT.parse_response(body)
    assert caught.value.code == code


def test_a_one_shot_answer_may_carry_an_error() -> None:
    with pytest.raises(Broken, match="CUDA error"):
        DIALECT.parse_response({"error": "CUDA error"})


# Errors.


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "retryable", "fallback"),
    [
        (400, b'{"error":"invalid option"}', Rejected, None, False, False),
        (400, b'{"error":"m does not support tools"}', Rejected, "unsupported", False, True),
        (
            400,
            b'{"error":"think value \\"high\\" is not supported for this model"}',
            Rejected,
            "unsupported",
            False,
            True,
        ),
        (
            400,
            b'{"error":"the input length exceeds the context length"}',
            Rejected,
            "context_length_exceeded",
            False,
            True,
        ),
        (
            500,
            b'{"error":"the request exceeds the available context size"}',
            Rejected,
            "context_length_exceeded",
            False,
            True,
        ),
        (401, b'{"error":"unauthorized","signin_url":"u"}', Denied, None, False, True),
        (
            404,
            b'{"error":"model \'x\' not found"}',
            Rejected,
            "model_not_found",
            False,
            True,
        ),
        (404, b"404 page not found", Rejected, None, False, True),
        (413, b"", Rejected, None, False, False),
        (422, b"", Rejected, None, False, False),
        (429, b'{"error":"too many requests"}', Limit, None, False, True),
        (
            429,
            b'{"error":"you\'ve reached your hourly usage limit, please upgrade"}',
            Denied,
            "insufficient_quota",
            False,
            True,
        ),
        (500, b'{"error":{"message":"boom"}}', Broken, None, True, True),
        (
            500,
            b'{"error":"model requires more system memory (5.6 GiB) than is available"}',
            Broken,
            None,
            False,
            True,
        ),
        (502, b"<html><body>Bad Gateway</body></html>", Broken, None, True, True),
        (503, b'{"error":"server busy, please try again."}', Broken, None, True, True),
        (529, b"", Broken, None, True, True),
    ],
)
def test_a_status_says_what_the_engine_should_do(
    status: int,
    body: bytes,
    kind: type[UpstreamError],
    code: str | None,
    retryable: bool,
    fallback: bool,
) -> None:
    error = DIALECT.parse_error(status, {}, body)
    assert type(error) is kind
    assert (error.code, error.retryable, error.fallback) == (code, retryable, fallback)
    assert error.upstream_status == status
    assert error.message
    assert "<" not in error.message


@pytest.mark.parametrize(
    ("line", "kind", "code"),
    [
        ({"error": "model 'x' not found, try pulling it first"}, Rejected, "model_not_found"),
        ({"error": "too many concurrent requests"}, Limit, None),
        ({"error": "unauthorized"}, Denied, None),
        ({"error": "prompt is too long"}, Rejected, "context_length_exceeded"),
        ({"error": {"message": "boom"}}, Broken, None),
        ({"error": "boom", "status_code": 429}, Limit, None),
        ({"error": ["?"]}, Broken, None),
    ],
)
def test_an_error_line_has_the_kind_of_its_words(
    line: Any, kind: type[UpstreamError], code: str | None
) -> None:
    error = play(DIALECT, [orjson.dumps(line)]).error
    assert type(error) is kind
    assert error.code == code


@given(st.integers(400, 599), st.binary(max_size=60) | JSON_VALUES.map(orjson.dumps))
def test_whatever_error_body_comes_it_is_named(status: int, body: bytes) -> None:
    assert isinstance(DIALECT.parse_error(status, {}, body), UpstreamError)
