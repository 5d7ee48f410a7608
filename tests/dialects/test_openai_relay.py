"""OpenAI to OpenAI: what passes untouched, and what must not."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken, Limit, UpstreamError
from chat.events import StreamEvent, Usage
from dialects.framing import SSE, Frame
from dialects.openai import OpenAiDialect, OpenAiQuirks
from dialects.watching import usage_among
from tests.dialects.cuts import Outcome, bytewise, cuttings, frames_of, play, recordings, to_json

DIALECT = OpenAiDialect()
ASKED = {"model": "auto", "stream": True, "stream_options": {"include_usage": True}}
NOT_ASKED = {"model": "auto", "stream": True}
HEAD = '{"id":"i","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06",'
RECORDINGS = recordings("openai")


def sse(*bodies: str) -> bytes:
    return "".join(f"data: {body}\n\n" for body in bodies).encode()


def text(content: str, finish: str = "null", more: str = "") -> str:
    delta = json.dumps({"content": content}, ensure_ascii=False, separators=(",", ":"))
    return HEAD + f'"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]{more}}}'


USAGE = (
    HEAD + '"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,'
    '"prompt_tokens_details":{"cached_tokens":1}}}'
)
STREAM = sse(
    text("", more=',"usage":null'),
    text('say "model":"x", "usage":{} and "error"', more=',"usage":null'),
    text(" é", '"stop"', ',"usage":null'),
    USAGE,
    "[DONE]",
)


def relayed(
    pieces: list[bytes], body: dict[str, Any], model: str = "gpt-4o-2024-08-06"
) -> tuple[bytes, Usage, UpstreamError | None]:
    watch = DIALECT.watch(body, model)
    decoder = SSE.decoder()
    passed: list[Frame] = []
    try:
        for piece in pieces:
            passed += watch.feed(decoder.feed(piece))
        passed += watch.feed(decoder.close())
        passed += watch.close()
    except UpstreamError as error:
        return b"".join(map(SSE.encode, passed)), watch.usage, error
    return b"".join(map(SSE.encode, passed)), watch.usage, None


def test_a_caller_who_asked_for_usage_gets_the_upstreams_own_bytes() -> None:
    for pieces in ([STREAM], bytewise(STREAM)):
        assert relayed(pieces, ASKED) == (STREAM, Usage(3, 2, 1), None)


def test_usage_that_nobody_asked_for_is_read_and_hidden() -> None:
    expected = sse(
        text(""),
        text('say "model":"x", "usage":{} and "error"'),
        text(" é", '"stop"'),
        "[DONE]",
    )
    for pieces in ([STREAM], bytewise(STREAM)):
        assert relayed(pieces, NOT_ASKED) == (expected, Usage(3, 2, 1), None)


def test_usage_beside_text_is_hidden_without_the_text() -> None:
    more = ',"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}'
    stream = sse(text("a", more=more), text("b", '"stop"', more), "[DONE]")
    expected = sse(text("a"), text("b", '"stop"'), "[DONE]")
    assert relayed([stream], NOT_ASKED) == (expected, Usage(3, 1), None)
    assert relayed([stream], ASKED) == (stream, Usage(3, 1), None)


def test_the_caller_is_told_the_name_of_the_model_and_text_is_left_alone() -> None:
    stream = sse(text('"model":"gpt-4o-2024-08-06"'), text("b", '"stop"'), "[DONE]")
    told, _, _ = relayed([stream], NOT_ASKED, 'my "auto"')
    assert told == stream.replace(
        b'created":1,"model":"gpt-4o-2024-08-06"', b'created":1,"model":"my \\"auto\\""'
    )
    spaced = stream.replace(b'"model":"gpt', b'"model" : "gpt')
    assert relayed([spaced], NOT_ASKED, 'my "auto"')[0] == told


def test_a_missing_terminator_is_added() -> None:
    stream = sse(text("a"), text("", '"stop"'))
    assert relayed([stream], ASKED)[0] == stream + b"data: [DONE]\n\n"


def test_noise_of_the_framing_stays_behind() -> None:
    stream = (
        b"\xef\xbb\xbf: hello\n\nid: 1\nretry: 5\n"
        + sse(text("a"))
        + b'data:\n\nevent: ping\ndata: {"type":"ping"}\n\nevent: chunk\n'
        + sse(text("b"), '{"choices":null}', "null", text("c", '"stop"'))
        + b"data:[DONE]\n\n"
        + sse(text("ghost"))
    )
    assert relayed([stream], ASKED)[0] == sse(text("a"), text("b"), text("c", '"stop"'), "[DONE]")


def test_a_frame_of_several_lines_becomes_one_line() -> None:
    stream = (
        b'data: {"choices":[{"index":0,"delta":{"content":"a"},\n'
        b'data: "finish_reason":"stop"}]}\n\n'
    )
    assert relayed([stream], ASKED)[0] == (
        b'data: {"choices":[{"index":0,"delta":{"content":"a"}, "finish_reason":"stop"}]}\n\n'
        b"data: [DONE]\n\n"
    )


def test_line_separators_are_escaped() -> None:
    told, _, _ = relayed([sse(text("a\u2028b\u2029c\u0085dé", '"stop"'))], ASKED)
    assert "a\\u2028b\\u2029c\\u0085dé" in told.decode()
    assert json.loads(told.split(b"\n")[0][6:])["choices"][0]["delta"]["content"].endswith("dé")


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        sse(text("half")),
        sse(text("half"), USAGE),
        sse(text("half"), "[DONE]"),
        sse(text("half")) + b'data: {"id":"i","choi',
        b"<html>",
    ],
)
def test_a_cut_stream_is_not_a_success(stream: bytes) -> None:
    told, _, error = relayed([stream], ASKED)
    assert isinstance(error, Broken)
    assert b"[DONE]" not in told
    assert told in (b"", sse(text("half")), sse(text("half"), USAGE))


def test_an_error_is_raised_after_what_came_before_it() -> None:
    error = '{"error":{"message":"slow","code":429}}'
    stream = sse(text("a"), error)
    for pieces in ([stream], bytewise(stream)):
        told, _, failure = relayed(pieces, ASKED)
        assert told == sse(text("a"))
        assert isinstance(failure, Limit)
    assert isinstance(relayed([sse(error)], ASKED)[2], Limit)


def test_a_failure_held_back_is_raised_by_the_next_call() -> None:
    frames = frames_of(SSE, [sse(text("a"), '{"error":"x"}')])
    for use in ("feed", "close"):
        watch = DIALECT.watch(ASKED, "m")
        assert len(watch.feed(frames)) == 1
        with pytest.raises(Broken, match="x"):
            watch.feed(frames) if use == "feed" else watch.close()


def test_a_finish_reason_of_error_is_an_error() -> None:
    stream = sse(text("a"), text("", '"error"'))
    told, _, failure = relayed([stream], ASKED)
    assert told == sse(text("a"))
    assert isinstance(failure, Broken)


WHOLE = (
    '{"id":"i","object":"chat.completion","created":1,"model":"up","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"a"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)


def test_a_whole_answer_becomes_a_stream() -> None:
    head = '{"id":"i","object":"chat.completion.chunk","created":1,"model":"m",'
    only = (
        head + '"choices":[{"index":0,"finish_reason":"stop",'
        '"delta":{"role":"assistant","content":"a"}}]}'
    )
    usage = (
        head + '"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
    )
    told, tokens, _ = relayed([WHOLE.encode()], NOT_ASKED, "m")
    assert told == sse(only, "[DONE]")
    assert tokens == Usage(3, 2)
    assert relayed([WHOLE.encode()], ASKED, "m")[0] == sse(only, usage, "[DONE]")


def clean(outcome: Outcome) -> list[Any]:
    """Without the upstream's name for its model."""
    return [{**said, "model": "m"} if "model" in said else said for said in to_json(outcome)]


@given(st.data())
def test_what_is_relayed_means_what_the_upstream_meant(data: st.DataObject) -> None:
    recording = data.draw(st.sampled_from(RECORDINGS))
    response = recording.response
    told, usage, error = relayed(data.draw(cuttings(response)), ASKED, "m")
    outcome = play(DIALECT, [response])
    if outcome.error is None:
        assert error is None
        assert clean(play(DIALECT, [told])) == clean(outcome)
    elif recording.case.name != "t05_no_name":
        assert type(error) is type(outcome.error)
        assert str(error) == str(outcome.error)
    events: list[StreamEvent] = outcome.events
    expected = Usage()
    for event in events:
        if isinstance(event, Usage):
            expected = event
    assert usage == expected
    hidden, _, _ = relayed([response], NOT_ASKED, "m")
    assert not any(isinstance(event, Usage) for event in play(DIALECT, [hidden]).events) or (
        b"x_groq" in hidden
    )


@given(
    st.lists(st.tuples(st.binary(max_size=20) | st.just(b"{}"), st.sampled_from([b"", b"error"])))
)
def test_whatever_frames_come_pass_or_raise_an_upstream_error(
    frames: list[tuple[bytes, bytes]],
) -> None:
    watch = DIALECT.watch(NOT_ASKED, "m")
    with suppress(UpstreamError):
        watch.feed([Frame(data, event) for data, event in frames])
    with pytest.raises(UpstreamError):
        watch.close()


JSON_FRAME = st.sampled_from(
    [
        '{"choices":[{"finish_reason":"error"}]}',
        '{"choices":[1],"usage":{}}',
        '{"choices":[{"usage":3}],"usage":1}',
        '{"choices":[],"usage":[]}',
        '{"choices":[{"delta":1,"finish_reason":"stop"}],"usage":{"prompt_tokens":"x"}}',
        '{"error":[]}',
        '{"error":{}, "choices":[]}',
        '{"model":7,"choices":[]}',
        '{"choices":[' + "[" * 300 + "]" * 300 + '],"usage":{}}',
        '{"choices":[}',
        '{"choices":[],"usage":}',
        '["error"]',
        '{"choices":[{"finish_reason":"error"}]',
        '{"x_groq":{"usage":4},"choices":[]}',
    ]
)


@given(st.lists(JSON_FRAME, max_size=5), st.booleans())
def test_strange_json_passes_or_raises_an_upstream_error(frames: list[str], asked: bool) -> None:
    relayed([sse(*frames)], ASKED if asked else NOT_ASKED)


def test_the_body_is_the_callers_own_with_the_upstreams_model() -> None:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": "hi", "odd": 1}],
        "logit_bias": {"1": 2},
    }
    before = json.dumps(body)
    assert DIALECT.relay_body(body, "m1") == {**body, "model": "m1"}
    assert json.dumps(body) == before


def test_a_relayed_stream_asks_for_usage() -> None:
    body = {"model": "auto", "messages": [], "stream": True}
    assert DIALECT.relay_body(body, "m1")["stream_options"] == {"include_usage": True}
    body["stream_options"] = {"include_usage": False, "include_obfuscation": False}
    assert DIALECT.relay_body(body, "m1")["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }
    quiet = OpenAiDialect(OpenAiQuirks(send_stream_options=False))
    assert "stream_options" not in quiet.relay_body(body, "m1")


def test_a_relayed_body_uses_the_words_that_the_host_knows() -> None:
    body = {
        "model": "auto",
        "messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "max_completion_tokens": 7,
        "reasoning_effort": "low",
    }
    sent = DIALECT.relay_body(body, "m1")
    assert sent["messages"][0] == {"role": "system", "content": "x"}
    assert sent["max_tokens"] == 7
    assert "max_completion_tokens" not in sent
    assert sent["reasoning_effort"] == "low"
    quirks = OpenAiQuirks(
        max_tokens_field="max_completion_tokens", developer_role=True, reasoning_effort=False
    )
    sent = OpenAiDialect(quirks).relay_body({**body, "max_completion_tokens": None}, "m1")
    assert sent["messages"] == body["messages"]
    assert sent["max_completion_tokens"] == 5
    assert "max_tokens" not in sent
    assert "reasoning_effort" not in sent


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "content": st.one_of(st.none(), st.text(max_size=5), st.just([{"text": "a"}])),
        "refusal": st.one_of(st.none(), st.just("No.")),
        "tool_calls": st.one_of(
            st.none(),
            st.just([]),
            st.just([{"function": {"arguments": "{}"}}]),
            st.just([{"id": "1", "function": {"name": "f", "arguments": "{}"}}]),
        ),
        "function_call": st.one_of(st.none(), st.just({"arguments": "{}"})),
    },
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": st.sampled_from([0, 1, None]),
        "finish_reason": st.sampled_from(["stop", "length", "error", "tool_calls", "", None]),
        "message": st.one_of(MESSAGES, st.none(), st.just("text")),
        "error": st.just({"message": "no"}),
        "usage": st.just({"prompt_tokens": 9}),
    },
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.one_of(st.lists(CHOICES, max_size=2), st.none()),
        "usage": st.one_of(
            st.none(), st.just({"prompt_tokens": 3, "completion_tokens": 2.0}), st.just("many")
        ),
        "x_groq": st.just({"usage": {"prompt_tokens": 4}}),
        "error": st.one_of(st.none(), st.just({"message": "no"})),
    },
)


@given(BODIES)
def test_a_whole_answer_is_counted_as_its_events_would_be(body: dict[str, Any]) -> None:
    def of(counted: Any) -> Any:
        try:
            return counted()
        except UpstreamError as failure:
            return type(failure), failure.message

    assert of(lambda: DIALECT.usage_in(body)) == of(
        lambda: usage_among(DIALECT.parse_response(body))
    )
