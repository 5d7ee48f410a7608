"""A failure of a relayed stream does not swallow what came before it."""

from __future__ import annotations

import pytest

from chat.errors import Broken, UpstreamError
from dialects.anthropic import AnthropicDialect
from dialects.base import RelayDialect
from dialects.framing import Frame
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect
from dialects.openai import OpenAiDialect

CASES: dict[str, tuple[RelayDialect, Frame]] = {
    "openai": (
        OpenAiDialect(),
        Frame(b'{"model":"m","choices":[{"index":0,"delta":{"content":"hi"}}]}'),
    ),
    "anthropic": (
        AnthropicDialect(),
        Frame(
            b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}',
            b"content_block_delta",
        ),
    ),
    "gemini": (
        GeminiDialect(),
        Frame(b'{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}'),
    ),
    "ollama": (
        OllamaDialect(),
        Frame(b'{"model":"m","message":{"role":"assistant","content":"hi"},"done":false}'),
    ),
}
ENDS: dict[str, list[Frame]] = {
    # Gemini's language has no terminator.
    "openai": [
        Frame(b'{"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'),
        Frame(b"[DONE]"),
    ],
    "anthropic": [
        Frame(b'{"type":"message_delta","delta":{"stop_reason":"end_turn"}}', b"message_delta"),
        Frame(b'{"type":"message_stop"}', b"message_stop"),
    ],
    "ollama": [Frame(b'{"model":"m","message":{"role":"assistant","content":""},"done":true}')],
}
ERROR = Frame(b'{"error":{"message":"boom","type":"api_error","code":500}}')


@pytest.mark.parametrize(("dialect", "frame"), CASES.values(), ids=CASES.keys())
def test_frames_before_a_failure_in_one_read_are_passed_on_first(
    dialect: RelayDialect, frame: Frame
) -> None:
    for bad in (ERROR, Frame(b"no json")):
        watch = dialect.watch({"stream": True}, "m")
        assert len(watch.feed([frame, bad, frame])) == 1
        for _ in range(2):
            with pytest.raises(UpstreamError):
                watch.feed([frame])
            with pytest.raises(UpstreamError):
                watch.close()


@pytest.mark.parametrize(("dialect", "frame"), CASES.values(), ids=CASES.keys())
def test_a_failure_that_comes_first_is_raised_at_once(dialect: RelayDialect, frame: Frame) -> None:
    watch = dialect.watch({"stream": True}, "m")
    with pytest.raises(Broken, match="boom"):
        watch.feed([ERROR, frame])


@pytest.mark.parametrize(("dialect", "frame"), CASES.values(), ids=CASES.keys())
def test_a_stream_without_its_end_was_cut(dialect: RelayDialect, frame: Frame) -> None:
    watch = dialect.watch({"stream": True}, "m")
    watch.feed([frame])
    with pytest.raises(Broken) as caught:
        watch.close()
    assert caught.value.code == "cut"


@pytest.mark.parametrize("name", ENDS)
def test_what_comes_behind_the_terminator_does_not_pass(name: str) -> None:
    dialect, frame = CASES[name]
    end = ENDS[name]
    watch = dialect.watch({"stream": True}, "m")
    assert list(watch.feed([frame, *end, frame, *end, ERROR])) == [frame, *end]
    assert not watch.feed([frame, ERROR])
    assert not watch.close()
