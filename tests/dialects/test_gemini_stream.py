"""What Gemini sends -> events (PROTOCOLS 10: F01, F02, F09, F13, F20, G01-G04, G06)."""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import Broken, UpstreamError
from chat.events import Finish, RefusalDelta, Start, TextDelta, ToolCallDelta, Usage
from chat.fold import fold
from chat.request import Json
from dialects.framing import Frame
from dialects.gemini import GeminiDialect
from tests.dialects.cuts import (
    Recording,
    check_pieces,
    check_recording,
    cuttings,
    play,
    recordings,
)

DIALECT = GeminiDialect()
CASES = recordings("gemini")
WORDS = [
    "candidates",
    "content",
    "parts",
    "text",
    "thought",
    "thoughtSignature",
    "functionCall",
    "name",
    "args",
    "id",
    "finishReason",
    "usageMetadata",
    "promptTokenCount",
    "candidatesTokenCount",
    "promptFeedback",
    "blockReason",
    "error",
    "code",
    "message",
    "status",
    "details",
    "retryDelay",
    "violations",
    "quotaId",
    "inlineData",
    "modelVersion",
    "responseId",
]


@pytest.mark.parametrize("recording", CASES, ids=lambda recording: recording.case.name)
def test_a_recording_means_the_same_wherever_the_network_cut_it(recording: Recording) -> None:
    check_recording(DIALECT, recording)


@pytest.mark.parametrize("recording", CASES, ids=lambda recording: recording.case.name)
@settings(max_examples=40)
@given(data=st.data())
def test_random_cuts_change_nothing(recording: Recording, data: st.DataObject) -> None:
    check_pieces(DIALECT, recording.response, data.draw(cuttings(recording.response)))


def frame(value: Json) -> Frame:
    return Frame(orjson.dumps(value))


def candidate(*parts: Json, finish: str | None = None) -> Json:
    ending = {"finishReason": finish} if finish else {}
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **ending}]}


def json_values() -> st.SearchStrategy[Json]:
    """Any JSON, often with the names that the parser looks for."""
    atoms = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(["STOP", "MALFORMED_FUNCTION_CALL", "RESOURCE_EXHAUSTED", "7s"]),
    )
    keys = st.one_of(st.sampled_from(WORDS), st.text(max_size=4))
    return st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=24,
    )


@settings(max_examples=400)
@given(values=st.lists(json_values(), max_size=4), event=st.sampled_from([b"", b"error"]))
def test_any_json_is_events_or_an_upstream_error(values: list[Json], event: bytes) -> None:
    parser = DIALECT.parser()
    watch = DIALECT.watch({}, "m")
    for read in (parser.feed, lambda one: watch.feed([one])):
        try:
            for value in values:
                read(Frame(orjson.dumps(value), event))
        except UpstreamError:
            continue
    for close in (parser.close, watch.close):
        with suppress(Broken):
            close()


@settings(max_examples=300)
@given(parts=st.lists(json_values(), max_size=4), more=json_values(), finish=json_values())
def test_any_part_is_events_or_an_upstream_error(parts: Json, more: Json, finish: Json) -> None:
    chunk = {
        "candidates": [{"content": {"parts": parts}, "finishReason": finish}],
        "usageMetadata": more,
        "promptFeedback": more,
    }
    try:
        events = [*DIALECT.parser().feed(frame(chunk))]
    except UpstreamError:
        return
    assert isinstance(events[0], Start)


@pytest.mark.parametrize("data", [b"{", b"hello", b"3", b"null", b'"x"', b"[1]"])
def test_what_is_no_object_is_malformed(data: bytes) -> None:
    with pytest.raises(Broken) as caught:
        DIALECT.parser().feed(Frame(data))
    assert caught.value.code == "malformed"


def test_arguments_nested_beyond_what_can_be_written_are_malformed() -> None:
    deep = b'{"a":' * 300 + b"1" + b"}" * 300
    call = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":' + deep
    with pytest.raises(Broken) as caught:
        DIALECT.parser().feed(Frame(call + b"}}]}}]}"))
    assert caught.value.code == "malformed"


def test_an_empty_frame_and_done_mean_nothing() -> None:
    parser = DIALECT.parser()
    assert list(parser.feed(Frame(b""))) == []
    assert not parser.done
    assert list(parser.feed(Frame(b"[DONE]"))) == []
    assert parser.done


def test_a_picture_does_not_pass_for_an_empty_answer() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": "AAE="}}
    with pytest.raises(Broken) as caught:
        DIALECT.parser().feed(frame(candidate(part, finish="STOP")))
    assert caught.value.code == "unsupported_content"
    assert not caught.value.retryable
    assert caught.value.fallback


def test_ids_that_the_upstream_repeats_are_made_unique() -> None:
    call = {"functionCall": {"id": "c1", "name": "f", "args": {}}}
    outcome = play(DIALECT, [b"data: " + orjson.dumps(candidate(call, call, finish="STOP"))])
    first, second = (event for event in outcome.events if isinstance(event, ToolCallDelta))
    assert first.id == "c1"
    assert second.id
    assert second.id != "c1"


@pytest.mark.parametrize(
    ("told", "reason", "detail"),
    [
        ("STOP", "stop", None),
        ("MAX_TOKENS", "length", None),
        ("SAFETY", "content_filter", "SAFETY"),
        ("RECITATION", "content_filter", "RECITATION"),
        ("LANGUAGE", "content_filter", "LANGUAGE"),
        ("BLOCKLIST", "content_filter", "BLOCKLIST"),
        ("SPII", "content_filter", "SPII"),
        ("IMAGE_SAFETY", "content_filter", "IMAGE_SAFETY"),
        ("OTHER", "stop", "OTHER"),
        ("A_REASON_OF_TOMORROW", "stop", "A_REASON_OF_TOMORROW"),
    ],
)
def test_finish_reasons_follow_the_table(told: str, reason: str, detail: str | None) -> None:
    events = DIALECT.parse_response(candidate({"text": "x"}, finish=told))
    assert events[-1] == Finish(reason, detail=detail)  # type: ignore[arg-type]


def test_a_call_that_was_stopped_by_the_limit_is_a_length_and_no_tool_call() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    events = DIALECT.parse_response(candidate(call, finish="MAX_TOKENS"))
    assert events[-1] == Finish("length")


@pytest.mark.parametrize("reason", ["UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"])
def test_a_fault_of_the_model_is_an_error_that_may_be_tried_again(reason: str) -> None:
    with pytest.raises(Broken) as caught:
        DIALECT.parse_response(candidate(finish=reason))
    assert caught.value.retryable


def test_a_missing_signature_is_not_tried_again() -> None:
    with pytest.raises(Broken) as caught:
        DIALECT.parse_response(candidate(finish="MISSING_THOUGHT_SIGNATURE"))
    assert not caught.value.retryable


def test_a_whole_answer_is_read_as_a_stream_of_one() -> None:
    body = candidate({"text": "hi"}, finish="STOP") | {
        "usageMetadata": {
            "promptTokenCount": 5,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 3,
            "cachedContentTokenCount": 4,
        },
        "modelVersion": "gemini-x",
        "responseId": "r",
    }
    response = fold(DIALECT.parse_response(body))
    assert (response.id, response.model, response.text) == ("r", "gemini-x", "hi")
    assert response.usage == Usage(5, 5, cached_tokens=4, reasoning_tokens=3)


@pytest.mark.parametrize("body", [{}, {"candidates": []}, candidate({"text": "x"}), [], {"x": 1}])
def test_a_whole_answer_without_its_finish_is_no_answer(body: Json) -> None:
    with pytest.raises(Broken):
        DIALECT.parse_response(body)


def test_the_upstreams_own_words_about_a_blocked_prompt_are_kept() -> None:
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "Not this, please."}
    events = DIALECT.parse_response({"promptFeedback": feedback})
    assert RefusalDelta("The upstream blocked this prompt: Not this, please.") in events
    assert events[-1] == Finish("content_filter", detail="SAFETY")


def test_a_bare_json_answer_to_a_stream_is_read() -> None:
    outcome = play(DIALECT, [orjson.dumps(candidate({"text": "hi"}, finish="STOP"))])
    assert outcome.error is None
    assert TextDelta("hi") in outcome.events


def test_the_error_of_another_server_is_an_error() -> None:
    outcome = play(DIALECT, [b'error: {"code": 500, "message": "out of memory"}\n\n'])
    assert isinstance(outcome.error, Broken)
    assert outcome.error.message == "out of memory"
