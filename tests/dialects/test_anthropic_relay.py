"""Anthropic -> Anthropic: what is changed on the way, and what is not."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken, UpstreamError
from chat.events import Usage
from chat.request import Json
from dialects.anthropic import AnthropicDialect
from dialects.framing import Frame
from tests.dialects.cuts import Recording, frames_of, play, recordings

DIALECT = AnthropicDialect()
CASES = recordings("anthropic")
BODY: dict[str, Json] = {
    "model": "auto",
    "stream": True,
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "hi"}],
}
SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3h"


def frame(**said: Json) -> Frame:
    return Frame(orjson.dumps(said), said["type"].encode())


START = frame(
    type="message_start",
    message={"id": "m", "model": "claude-x", "usage": {"input_tokens": 5, "output_tokens": 1}},
)
TEXT = frame(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "é\u2028"})
END = frame(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
STOP = frame(type="message_stop")
PING = Frame(b'{"type": "ping"}', b"ping")


def test_the_body_goes_out_with_the_upstreams_name_of_the_model() -> None:
    body = {**BODY, "metadata": {"x": 1}, "unheard_of": [1], "temperature": 0.3}
    assert DIALECT.relay_body(body, "claude-sonnet-4-6") == {**body, "model": "claude-sonnet-4-6"}
    assert body["model"] == "auto"


def test_a_body_without_max_tokens_gets_the_default() -> None:
    body = {name: value for name, value in BODY.items() if name != "max_tokens"}
    assert DIALECT.relay_body(body, "claude-x")["max_tokens"] == 4096


def test_knobs_that_the_model_lacks_are_left_out() -> None:
    body = {**BODY, "temperature": 0.3, "thinking": {"type": "adaptive"}}
    assert DIALECT.relay_body(body, "claude-opus-4-8").keys() == {*BODY, "thinking"}


def test_thoughts_that_anthropic_did_not_sign_are_left_out() -> None:
    signed = {"type": "thinking", "thinking": "a", "signature": SIGNATURE}
    unsigned = {"type": "thinking", "thinking": "b", "signature": ""}
    foreign = {"type": "redacted_thinking", "data": "rs_1"}
    text = {"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}}
    user = {"role": "user", "content": "hi"}
    messages: list[Json] = [
        user,
        {"role": "assistant", "content": [unsigned, signed, foreign, text]},
        user,
        {"role": "assistant", "content": [unsigned]},
        user,
    ]
    sent = DIALECT.relay_body({**BODY, "messages": messages}, "claude-x")
    assert sent["messages"] == [
        user,
        {"role": "assistant", "content": [signed, text]},
        user,
        user,
    ]
    assert len(messages[1]["content"]) == 4
    kept = [user, {"role": "assistant", "content": [signed, text]}, user]
    assert DIALECT.relay_body({**BODY, "messages": kept}, "claude-x")["messages"] is kept


def test_frames_pass_untouched_but_for_the_name_of_the_model() -> None:
    watch = DIALECT.watch(BODY, "auto")
    first, *others = watch.feed([START, PING, TEXT, END, STOP])
    assert orjson.loads(first.data)["message"]["model"] == "auto"
    assert others == [PING, TEXT, END, STOP]
    assert all(
        given is passed for given, passed in zip([PING, TEXT, END, STOP], others, strict=True)
    )
    assert watch.usage == Usage(5, 9)
    assert list(watch.close()) == []


def test_nothing_passes_behind_message_stop() -> None:
    watch = DIALECT.watch(BODY, "auto")
    watch.feed([START, END])
    assert list(watch.feed([STOP, TEXT, Frame(b"[DONE]")])) == [STOP]
    assert list(watch.feed([TEXT])) == []


def test_a_missing_message_stop_is_added() -> None:
    watch = DIALECT.watch(BODY, "auto")
    watch.feed([START, END])
    assert list(watch.close()) == [STOP]


def test_a_cut_stream_is_not_a_success() -> None:
    for frames in ([], [START], [START, TEXT]):
        watch = DIALECT.watch(BODY, "auto")
        watch.feed(frames)
        with pytest.raises(Broken) as caught:
            watch.close()
        assert caught.value.code == "cut"


def test_half_a_frame_does_not_pass() -> None:
    delta = {"type": "input_json_delta", "partial_json": '{"a":{"b":"c"}}'}
    whole = frame(type="content_block_delta", index=0, delta=delta).data
    DIALECT.watch(BODY, "auto").feed([Frame(whole, b"content_block_delta")])
    for cut in range(1, len(whole)):
        watch = DIALECT.watch(BODY, "auto")
        with pytest.raises(Broken):
            watch.feed([Frame(whole[:cut], b"content_block_delta")])


def test_an_error_before_anything_is_raised_at_once() -> None:
    error = frame(type="error", error={"type": "overloaded_error", "message": "Overloaded"})
    watch = DIALECT.watch(BODY, "auto")
    assert list(watch.feed([PING])) == []
    with pytest.raises(Broken) as caught:
        watch.feed([PING, error])
    assert caught.value.code == "overloaded"


def test_an_error_waits_until_what_came_before_it_has_passed() -> None:
    error = frame(type="error", error={"type": "overloaded_error", "message": "Overloaded"})
    for ask_again in (True, False):
        watch = DIALECT.watch(BODY, "auto")
        assert len(watch.feed([START, TEXT, error, STOP])) == 2
        with pytest.raises(Broken, match="Overloaded"):
            watch.feed([]) if ask_again else watch.close()


def test_tokens_are_more_than_none_at_the_start() -> None:
    for figures in ({"input_tokens": 0, "output_tokens": 0}, {}, None):
        start = frame(type="message_start", message={"id": "m", "usage": figures})
        watch = DIALECT.watch({**BODY, "messages": [{"role": "user", "content": "x" * 400}]}, "a")
        told = orjson.loads(watch.feed([start])[0].data)["message"]["usage"]
        assert told["input_tokens"] > 100
        assert told["output_tokens"] in (0, 1)


def test_frames_without_a_name_get_theirs() -> None:
    watch = DIALECT.watch(BODY, "auto")
    passed = watch.feed([Frame(frame.data) for frame in (START, TEXT, END, STOP)])
    assert [frame.event for frame in passed] == [
        b"message_start",
        b"content_block_delta",
        b"message_delta",
        b"message_stop",
    ]


def test_a_one_shot_answer_is_counted_and_renamed() -> None:
    whole = {"type": "message", "model": "claude-x", "content": [], "usage": {"input_tokens": 3}}
    watch = DIALECT.watch({**BODY, "stream": False}, "auto")
    (passed,) = watch.feed([Frame(orjson.dumps(whole))])
    assert orjson.loads(passed.data) == {**whole, "model": "auto"}
    assert watch.usage == Usage(3)
    assert list(watch.close()) == []
    with pytest.raises(Broken):
        DIALECT.watch(BODY, "auto").feed([Frame(orjson.dumps(whole))])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.case.name)
def test_a_relayed_recording_means_what_it_meant(case: Recording) -> None:
    if case.case.name == "whole_body":
        return
    frames = frames_of(DIALECT.framing, [case.response])
    watch = DIALECT.watch(case.request, "claude-sonnet-4-5-20250929")
    passed = b""
    failed = False
    try:
        for one in frames:
            passed += b"".join(map(DIALECT.framing.encode, watch.feed([one])))
        passed += b"".join(map(DIALECT.framing.encode, watch.close()))
    except UpstreamError:
        failed = True
    before, after = play(DIALECT, [case.response]), play(DIALECT, [passed])
    assert failed == (before.error is not None)
    if case.case.name in ("usage_only_at_the_end", "no_usage_and_no_start"):
        return
    # Generated ids differ from one reading to the next.
    if case.case.name != "same_ids_and_no_ids":
        assert after.events == before.events


@given(
    st.lists(
        st.sampled_from([START, TEXT, END, STOP, PING])
        | st.builds(Frame, st.binary(max_size=20), st.sampled_from([b"", b"content_block_delta"]))
        | st.builds(lambda v: Frame(orjson.dumps(v)), st.from_type(type(None)) | st.integers(0, 9))
    )
)
def test_whatever_passes_is_json_with_a_name(frames: list[Frame]) -> None:
    watch = DIALECT.watch(BODY, "auto")
    passed: list[Frame] = []
    try:
        for one in frames:
            passed += watch.feed([one])
        passed += watch.close()
    except UpstreamError:
        pass
    else:
        assert STOP in passed
    for one in passed:
        assert isinstance(orjson.loads(one.data), dict)
