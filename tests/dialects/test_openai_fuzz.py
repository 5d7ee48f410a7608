"""Whatever JSON or bytes an upstream sends, there are events or an UpstreamError."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chat.errors import UpstreamError
from chat.events import Finish, Start, StreamEvent
from dialects.framing import Frame
from dialects.openai import OpenAiDialect, OpenAiQuirks

DIALECT = OpenAiDialect()
THINKING = OpenAiDialect(OpenAiQuirks(think_tags=True))

SCALAR = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
)
FIELDS = st.sampled_from(
    [
        "id",
        "model",
        "choices",
        "index",
        "delta",
        "message",
        "content",
        "reasoning_content",
        "reasoning",
        "thinking",
        "text",
        "refusal",
        "tool_calls",
        "function_call",
        "function",
        "name",
        "arguments",
        "finish_reason",
        "stop_reason",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
        "cached_tokens",
        "reasoning_tokens",
        "x_groq",
        "error",
        "code",
        "type",
        "status",
        "details",
        "retryDelay",
        "object",
        "detail",
        "param",
    ]
)
ANY = st.recursive(
    SCALAR | st.sampled_from(["stop", "error", "tool_calls", "{", "{}", "7s"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=20,
)
CHUNKISH = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {
                    "delta": st.dictionaries(FIELDS, ANY, max_size=4)
                    | st.fixed_dictionaries({"tool_calls": st.lists(ANY, max_size=3)}),
                    "finish_reason": ANY,
                }
            ),
            max_size=2,
        )
    },
    optional={"usage": ANY, "error": ANY, "x_groq": ANY},
)


def check_any_frames(frames: list[tuple[Any, bytes]], dialect: OpenAiDialect) -> None:
    parser = dialect.parser()
    events: list[StreamEvent] = []
    try:
        for value, name in frames:
            events += parser.feed(Frame(json.dumps(value).encode(), name))
        events += parser.close()
    except UpstreamError:
        pass
    if events:
        assert isinstance(events[0], Start)
    assert sum(isinstance(event, Start | Finish) for event in events[1:-1]) == 0


@given(st.lists(st.tuples(ANY | CHUNKISH, st.sampled_from([b"", b"error", b"ping"])), max_size=6))
def test_whatever_json_comes_gives_events_or_an_upstream_error(
    frames: list[tuple[Any, bytes]],
) -> None:
    check_any_frames(frames, DIALECT)
    check_any_frames(frames, THINKING)


@given(ANY | CHUNKISH)
def test_whatever_body_comes_gives_events_or_an_upstream_error(body: Any) -> None:
    try:
        events = DIALECT.parse_response(body)
    except UpstreamError:
        return
    assert isinstance(events[-1], Finish)


@given(st.binary(max_size=40), st.sampled_from([b"", b"error"]))
def test_whatever_bytes_come_give_events_or_an_upstream_error(data: bytes, name: bytes) -> None:
    with suppress(UpstreamError):
        assert Finish("stop") not in DIALECT.parser().feed(Frame(data, name))
