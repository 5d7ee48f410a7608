"""Recorded answers of every upstream, spoiled anywhere: every parser gives events or an
UpstreamError, and what stands behind nothing is not called an end."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.errors import UpstreamError
from chat.events import Finish, Start
from dialects.anthropic import AnthropicDialect
from dialects.base import RelayDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect
from dialects.openai import OpenAiDialect
from tests.dialects.cuts import cut_at, frames_of, play, recordings

DIALECTS: dict[str, RelayDialect] = {
    "openai": OpenAiDialect(),
    "anthropic": AnthropicDialect(),
    "gemini": GeminiDialect(),
    "ollama": OllamaDialect(),
}
RECORDED = {name: [one.response for one in recordings(name)] for name in DIALECTS}
BITS = (
    *(b"", b"\n", b"\r", b"\n\n", b"data: ", b"data: [DONE]\n\n", b"event: error\n", b": ping\n"),
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"1e999", b"-", b"\\ud800", b"\\u0000"),
    *(b"\xff", b"\x00", b"\xf0\x9f", b"\xef\xbb\xbf", b"9" * 400, b"[" * 2000, b'{"error":'),
)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    (None, True, 0, -1, 1e308, 10**30, "", "stop", "\x00", [], [None], {}, [[]])
)


@st.composite
def spoiled(draw: st.DrawFn, name: str) -> list[bytes]:
    """Pieces of an answer in which a few places were changed, taken away or told again."""
    data = draw(st.sampled_from(RECORDED[name]))
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 60)))
        put = draw(st.sampled_from(BITS) | st.binary(max_size=6))
        again = data[begin:end] if draw(st.booleans()) else b""
        data = data[:begin] + put + again + again + data[end:]
    return cut_at(data, draw(st.lists(st.integers(0, len(data)), max_size=6)))


@st.composite
def swapped(draw: st.DrawFn, name: str) -> list[bytes]:
    """An answer whose JSON is sound, and whose values are others."""
    lines = draw(st.sampled_from(RECORDED[name])).split(b"\n")
    at = [n for n, line in enumerate(lines) if line.removeprefix(b"data:").lstrip()[:1] == b"{"]
    for number in draw(st.lists(st.sampled_from(at), max_size=4)) if at else ():
        head, mark, body = lines[number].partition(b"{")
        try:
            value = orjson.loads(mark + body)
        except orjson.JSONDecodeError:
            continue
        lines[number] = head + json.dumps(_swapped(draw, value)).encode()
    return [b"\n".join(lines)]


def _swapped(draw: st.DrawFn, value: Any, depth: int = 0) -> Any:
    if depth and draw(st.integers(0, 3)) == 0:
        return draw(ODD)
    if isinstance(value, dict) and value:
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: _swapped(draw, value[name], depth + 1)}
    if isinstance(value, list) and value:
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], _swapped(draw, value[at], depth + 1), *value[at + 1 :]]
    return draw(ODD)


def check(dialect: RelayDialect, pieces: list[bytes]) -> None:
    events = play(dialect, pieces).events
    assert not events or isinstance(events[0], Start)
    assert sum(isinstance(event, Start) for event in events) <= 1
    assert sum(isinstance(event, Finish) for event in events) <= 1
    with suppress(UpstreamError):
        frames = frames_of(dialect.framing, pieces)
        watch = dialect.watch({"model": "m", "stream": True}, "m")
        for frame in frames:
            watch.feed([frame])
        watch.close()


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_spoiled_bytes_are_events_or_an_upstream_error(name: str, data: st.DataObject) -> None:
    check(DIALECTS[name], data.draw(spoiled(name)))


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_strange_values_are_events_or_an_upstream_error(name: str, data: st.DataObject) -> None:
    check(DIALECTS[name], data.draw(swapped(name)))


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_spoiled_whole_answers_are_events_or_an_upstream_error(
    name: str, data: st.DataObject
) -> None:
    """A stream's frame has most of the fields of a whole answer."""
    dialect = DIALECTS[name]
    pieces = data.draw(spoiled(name) | swapped(name))
    with suppress(UpstreamError):
        for frame in frames_of(dialect.framing, pieces):
            try:
                body = orjson.loads(frame.data)
            except orjson.JSONDecodeError:
                continue
            with suppress(UpstreamError):
                assert isinstance(dialect.parse_response(body)[-1], Finish)
            error = dialect.parse_error(500, {}, frame.data)
            assert isinstance(error, UpstreamError)
            assert error.message
