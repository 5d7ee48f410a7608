"""Gemini to Gemini: the body and the frames pass, and are looked at."""

from __future__ import annotations

import copy

import orjson
import pytest

from chat.errors import Broken, Denied, Limit
from chat.events import Usage
from chat.request import Json
from dialects.framing import Frame
from dialects.gemini import GeminiDialect
from dialects.gemini.watch import GeminiWatch
from tests.dialects.cuts import Recording, frames_of, recordings

DIALECT = GeminiDialect()
LAST = (
    b'{"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}],'
    b' "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 1},'
    b' "modelVersion": "gemini-2.5-flash"}'
)


def watched(*frames: Frame | bytes, model: str = "") -> tuple[GeminiWatch, list[Frame]]:
    watch = DIALECT.watch({}, model)
    each = [frame if isinstance(frame, Frame) else Frame(frame) for frame in frames]
    return watch, [*watch.feed(each)]


def test_the_body_is_the_callers_own_without_what_the_door_put_into_it() -> None:
    body: dict[str, Json] = {
        "model": "fast",
        "stream": True,
        "contents": [{"parts": [{"inline_data": {"mime_type": "video/mp4", "data": "AAE="}}]}],
        "generation_config": {"response_modalities": ["IMAGE"]},
    }
    before = copy.deepcopy(body)
    relayed = DIALECT.relay_body(body, "gemini-2.5-flash")
    assert relayed == {key: before[key] for key in ("contents", "generation_config")}
    assert body == before


@pytest.mark.parametrize("call", ["functionCall", "function_call"])
def test_a_call_of_another_vendors_model_is_excused_where_a_signature_is_demanded(
    call: str,
) -> None:
    signed = {"role": "model", "parts": [{call: {"name": "f"}, "thoughtSignature": "c2ln"}]}
    user = {"role": "user", "parts": [{"text": "hi"}]}
    foreign = {"role": "model", "parts": [{"text": "a"}, {call: {"name": "f"}}, {call: {}}]}
    body: dict[str, Json] = {"model": "fast", "contents": [user, signed, user, foreign]}
    before = copy.deepcopy(body)
    contents = DIALECT.relay_body(body, "gemini-3-pro")["contents"]
    assert contents[:3] == before["contents"][:3]
    assert contents[3]["parts"] == [
        {"text": "a"},
        {call: {"name": "f"}, "thoughtSignature": "skip_thought_signature_validator"},
        {call: {}},
    ]
    assert body == before
    assert DIALECT.relay_body(body, "gemini-2.5-pro")["contents"] == before["contents"]
    for odd in ("hi", [7], [{"role": "model", "parts": 7}], [{"role": "model"}]):
        assert DIALECT.relay_body({"contents": odd}, "gemini-3-pro") == {"contents": odd}


def test_a_frame_passes_byte_for_byte_and_is_counted() -> None:
    watch, passed = watched(LAST)
    assert passed == [Frame(LAST)]
    assert watch.usage == Usage(2, 1)
    assert list(watch.close()) == []


def test_only_the_name_of_the_model_changes() -> None:
    _, passed = watched(LAST, model='our "fast" one')
    told = LAST.replace(b'"gemini-2.5-flash"', rb'"our \"fast\" one"')
    assert passed == [Frame(told)]


def test_a_text_that_speaks_of_model_versions_is_not_touched() -> None:
    args = {"modelVersion": "x", "quote": '"modelVersion": "y"'}
    part = {"functionCall": {"name": "f", "args": args}}
    chunk = {"candidates": [{"content": {"parts": [part]}}], "modelVersion": "gemini-x"}
    _, passed = watched(orjson.dumps(chunk), model="fast")
    assert orjson.loads(passed[0].data) == chunk | {"modelVersion": "fast"}
    text = {"candidates": [{"content": {"parts": [{"text": '"modelVersion": "y"'}]}}]}
    _, passed = watched(orjson.dumps(text | {"modelVersion": "gemini-x"}), model="fast")
    assert orjson.loads(passed[0].data) == text | {"modelVersion": "fast"}


def test_what_breaks_googles_sdks_does_not_pass() -> None:
    pretty = orjson.dumps(orjson.loads(LAST), option=orjson.OPT_INDENT_2)
    _, passed = watched(Frame(pretty, b"message"), b"", b"[DONE]")
    assert passed == [Frame(orjson.dumps(orjson.loads(LAST)))]


def test_an_array_becomes_frames() -> None:
    first = {"candidates": [{"content": {"parts": [{"text": "a"}]}}]}
    watch, passed = watched(orjson.dumps([first, orjson.loads(LAST)]))
    assert [orjson.loads(frame.data) for frame in passed] == [first, orjson.loads(LAST)]
    assert list(watch.close()) == []


def test_a_stream_without_its_finish_is_cut() -> None:
    watch, _ = watched(b'{"candidates": [{"content": {"parts": [{"text": "a"}]}}]}')
    with pytest.raises(Broken) as caught:
        watch.close()
    assert caught.value.code == "cut"


def test_a_blocked_prompt_is_an_end() -> None:
    watch, passed = watched(b'{"promptFeedback": {"blockReason": "SAFETY"}}')
    assert len(passed) == 1
    assert list(watch.close()) == []


def test_an_error_in_a_frame_is_raised_and_not_passed() -> None:
    with pytest.raises(Limit):
        watched(b'{"error": {"code": 429, "message": "slow down"}}')
    with pytest.raises(Denied):
        watched(b'[{"error": {"status": "PERMISSION_DENIED", "message": "no"}}]')
    with pytest.raises(Broken, match="memory"):
        watched(Frame(b'{"code": 500, "message": "out of memory"}', b"error"))
    for data in (b"{", b"3", b"[[]]"):
        with pytest.raises(Broken) as caught:
            watched(data)
        assert caught.value.code == "malformed"


FINE = [
    recording
    for recording in recordings("gemini")
    if not any("error" in event for event in recording.events)
]


@pytest.mark.parametrize("recording", FINE, ids=lambda recording: recording.case.name)
def test_a_recording_passes_with_the_usage_that_its_events_tell(recording: Recording) -> None:
    watch = DIALECT.watch({}, "fast")
    passed = watch.feed(frames_of(DIALECT.framing, [recording.response]))
    watch.close()
    told = [event for event in recording.events if event["event"] == "Usage"]
    counted = Usage(**{key: value for key, value in told[-1].items() if key != "event"})
    assert watch.usage == counted
    names = {orjson.loads(frame.data).get("modelVersion") for frame in passed}
    assert names <= {"fast", None}
    assert not any(frame.event or b"\n" in frame.data for frame in passed)
