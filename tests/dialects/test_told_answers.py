"""What docs/dialects.md says becomes of an answer: how each caller reads it, whole and streamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

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
from chat.fold import fold
from chat.request import Json
from chat.trace import Trace
from dialects.base import InboundDialect
from dialects.complete import CompleteDialect
from tests.dialects.cuts import frames_of, play
from tests.dialects.told_pairs import CALLERS, UPSTREAMS, question

TEXT = TextDelta("So.")
CALL = ToolCallDelta(0, "c", "f", '{"a":')
MORE = ToolCallDelta(0, arguments="1}")
STOP = Finish("stop")
TRACE = Trace("r1", model="m")

every_caller = pytest.mark.parametrize("caller", UPSTREAMS)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def frames(caller: InboundDialect, body: Json, events: Sequence[StreamEvent]) -> list[Json]:
    """What a stream's frames hold, in order."""
    written = streamed(caller, body, events)
    told = [frame.data for frame in frames_of(caller.framing, [written])]
    return [orjson.loads(data) for data in told if data != b"[DONE]"]


def streamed(caller: InboundDialect, body: Json, events: Sequence[StreamEvent]) -> bytes:
    renderer = caller.renderer(caller.parse_request(body), "r1", "m", lambda: 0.0)
    return b"".join(renderer.feed([event]) for event in events) + renderer.close(TRACE)


def whole(caller: InboundDialect, body: Json, events: Sequence[StreamEvent]) -> Json:
    return caller.render_response(
        caller.parse_request(body), fold([Start(), *events]), TRACE, lambda: 0.0
    )


def told(name: str, stream: bool, *events: StreamEvent, **more: Json) -> list[Json]:
    """All that a caller is told of an answer; of a whole one, its one body."""
    caller, body = CALLERS[name], question(name, **more)
    if name == "openai" and stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if stream:
        return frames(caller, body, [Start(), *events])
    return [whole(caller, body, events)]


def values(told: Json, key: str) -> list[Any]:
    """All values under a key, anywhere, that say something."""
    if isinstance(told, list):
        return [value for item in told for value in values(item, key)]
    if not isinstance(told, dict):
        return []
    mine = [told[key]] if told.get(key) not in (None, "", []) else []
    return mine + [found for inner in told.values() for found in values(inner, key)]


FINISH = {
    "openai": "finish_reason",
    "anthropic": "stop_reason",
    "gemini": "finishReason",
    "ollama": "done_reason",
}
FINISHES: dict[str, tuple[Finish, dict[str, str]]] = {
    "a stop sequence": (
        Finish("stop", "END"),
        {"openai": "stop", "anthropic": "stop_sequence", "gemini": "STOP", "ollama": "stop"},
    ),
    "calls": (
        Finish("tool_calls"),
        {"openai": "tool_calls", "anthropic": "tool_use", "gemini": "STOP", "ollama": "stop"},
    ),
    "a filter": (
        Finish("content_filter"),
        {
            "openai": "content_filter",
            "anthropic": "refusal",
            "gemini": "SAFETY",
            "ollama": "stop",
        },
    ),
    "a filter of Gemini's": (
        Finish("content_filter", detail="RECITATION"),
        {
            "openai": "content_filter",
            "anthropic": "refusal",
            "gemini": "RECITATION",
            "ollama": "stop",
        },
    ),
    "pause_turn": (
        Finish("stop", detail="pause_turn"),
        {"openai": "stop", "anthropic": "pause_turn", "gemini": "STOP", "ollama": "stop"},
    ),
    "a prompt that Ollama cut": (
        Finish("stop", detail="prompt_truncated"),
        {"openai": "stop", "anthropic": "end_turn", "gemini": "STOP", "ollama": "stop"},
    ),
}


@every_caller
@both_ways
@pytest.mark.parametrize("what", FINISHES)
def test_an_end_has_the_callers_own_word(what: str, stream: bool, caller: str) -> None:
    finish, words = FINISHES[what]
    answer = told(caller, stream, TEXT, finish)
    assert values(answer, FINISH[caller]) == [words[caller]]
    sequence = ["END"] if finish.stop_sequence and caller == "anthropic" else []
    assert values(answer, "stop_sequence") == sequence
    # Nothing else of it is told anywhere.
    assert ("END" in str(answer)) == bool(sequence)
    assert "prompt_truncated" not in str(answer)


@both_ways
def test_only_complete_tells_that_ollama_cut_the_question(stream: bool) -> None:
    caller, cut = CompleteDialect(), Finish("stop", detail="prompt_truncated")
    body: Json = {"message": "Hi", "model": "m"}
    answer = frames(caller, body, [TEXT, cut]) if stream else whole(caller, body, [TEXT, cut])
    assert values(answer, "finish_detail") == ["prompt_truncated"]


@every_caller
@both_ways
def test_a_refusal_in_words_has_its_place(stream: bool, caller: str) -> None:
    answer = told(caller, stream, RefusalDelta("No."), STOP)
    place = {"openai": "refusal", "ollama": "content"}.get(caller, "text")
    assert values(answer, place) == ["No."]
    assert str(answer).count("No.") == 1
    if caller == "anthropic":
        assert values(answer, "stop_reason") == ["refusal"]


THOUGHT = {
    "openai": "reasoning_content",
    "anthropic": "thinking",
    "gemini": "thought",
    "ollama": "thinking",
}
SHOWN: dict[str, tuple[dict[str, Json], dict[str, Json]]] = {
    # What shows thoughts, and what hides them.
    "anthropic": (
        {"thinking": {"type": "adaptive"}},
        {"thinking": {"type": "adaptive", "display": "omitted"}},
    ),
    "gemini": ({"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}, {}),
    "ollama": ({}, {"think": False}),
}


@every_caller
@both_ways
def test_thoughts_stand_where_he_reads_them_and_hide_when_he_says_so(
    stream: bool, caller: str
) -> None:
    shows, hides = SHOWN.get(caller, ({}, {}))
    events = ReasoningDelta("Hm."), TEXT, STOP
    assert values(told(caller, stream, *events, **shows), THOUGHT[caller]) in (["Hm."], [True])
    assert "Hm." in str(told(caller, stream, *events, **shows))
    if caller in SHOWN:
        hidden = told(caller, stream, *events, **hides)
        assert "Hm." not in str(hidden)
        assert "So." in str(hidden)


@every_caller
@both_ways
def test_only_anthropics_callers_get_thoughts_that_only_anthropic_reads(
    stream: bool, caller: str
) -> None:
    shows, _ = SHOWN.get(caller, ({}, {}))
    events = ReasoningDelta(redacted="c2ln", vendor="anthropic"), TEXT, STOP
    answer = told(caller, stream, *events, **shows)
    assert ("c2ln" in str(answer)) == (caller == "anthropic")


@every_caller
def test_a_call_comes_in_pieces_only_where_callers_read_pieces(caller: str) -> None:
    answer = told(caller, True, CALL, MORE, Finish("tool_calls"))
    place = {"openai": "arguments", "anthropic": "partial_json", "gemini": "args"}
    pieces = values(answer, place.get(caller, "arguments"))
    in_pieces = caller in ("openai", "anthropic")
    assert pieces == (['{"a":', "1}"] if in_pieces else [{"a": 1}])


USAGE = Usage(100, 50, cached_tokens=30, cache_write_tokens=20, reasoning_tokens=40)
COUNTED: dict[str, dict[str, int]] = {
    "openai": {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "cached_tokens": 30,
        "cache_write_tokens": 20,
        "reasoning_tokens": 40,
    },
    "anthropic": {
        "input_tokens": 50,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 20,
        "output_tokens": 50,
        "thinking_tokens": 40,
    },
    "gemini": {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 30,
        "candidatesTokenCount": 10,
        "thoughtsTokenCount": 40,
    },
    "ollama": {"prompt_eval_count": 100, "eval_count": 50},
}


@every_caller
@both_ways
def test_tokens_are_counted_in_his_words(stream: bool, caller: str) -> None:
    answer = told(caller, stream, TEXT, USAGE, STOP)
    for name, count in COUNTED[caller].items():
        assert values(answer, name)[-1] == count
    if caller == "ollama":
        # Cached tokens and those of thought stand inside of the two counts alone.
        assert not {30, 20, 40} & set(values_of(answer))


def values_of(told: Json) -> list[int]:
    """All numbers, anywhere."""
    if isinstance(told, dict):
        told = list(told.values())
    if isinstance(told, list):
        return [number for item in told for number in values_of(item)]
    return [told] if isinstance(told, int) else []


def test_the_first_event_of_anthropics_callers_estimates_the_input() -> None:
    words = {"role": "user", "content": "x" * 400}
    first, *_ = told("anthropic", True, TEXT, USAGE, STOP, messages=[words])
    assert first["message"]["usage"]["input_tokens"] == 100
    asked = CALLERS["anthropic"].parse_request(question("anthropic", messages=[words]))
    renderer = CALLERS["anthropic"].renderer(asked, "r1", "m", lambda: 0.0)
    [counted] = frames_of(CALLERS["anthropic"].framing, [renderer.feed([Start(), USAGE])])
    assert orjson.loads(counted.data)["message"]["usage"]["input_tokens"] == 50


# What an upstream says besides an answer, and nobody is told who does not speak its language.
BESIDE: dict[str, tuple[Json, Json]] = {
    "log probabilities of OpenAI": (
        {"choices": [{"index": 0, "message": {"content": "So."}, "finish_reason": "stop"}]},
        {
            "choices": [
                {
                    "index": 0,
                    "message": {"content": "So.", "annotations": [{"type": "url_citation"}]},
                    "finish_reason": "stop",
                    "logprobs": {"content": [{"token": "So.", "logprob": -0.5}]},
                }
            ]
        },
    ),
    "citations of Anthropic": (
        {"content": [{"type": "text", "text": "So."}], "stop_reason": "end_turn"},
        {
            "content": [
                {"type": "text", "text": "So.", "citations": [{"cited_text": "So."}]},
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            ],
            "stop_reason": "end_turn",
        },
    ),
    "grounding and ratings of Gemini": (
        {"candidates": [{"content": {"parts": [{"text": "So."}]}, "finishReason": "STOP"}]},
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": "So."}, {"executableCode": {"code": "1"}}]},
                    "finishReason": "STOP",
                    "avgLogprobs": -0.5,
                    "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT"}],
                    "citationMetadata": {"citationSources": []},
                    "groundingMetadata": {"webSearchQueries": ["so"]},
                }
            ]
        },
    ),
    "log probabilities of Ollama": (
        {"message": {"content": "So."}, "done": True},
        {"message": {"content": "So."}, "done": True, "logprobs": [{"token": "So."}]},
    ),
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_is_said_beside_the_answer_is_told_to_nobody(what: str) -> None:
    upstream = UPSTREAMS[what.rpartition(" ")[2].lower()]
    plain, rich = (list(upstream.parse_response(body)) for body in BESIDE[what])
    assert rich == plain
    assert fold(rich).text == "So."


@pytest.mark.parametrize("part", [{"inlineData": {"data": "AAAA"}}, {"fileData": {}}])
def test_media_in_geminis_answer_fail_for_a_caller_of_another_language(part: Json) -> None:
    chunk = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    outcome = play(UPSTREAMS["gemini"], [b"data: " + orjson.dumps(chunk) + b"\n\n"])
    assert outcome.error is not None
    assert outcome.error.code == "unsupported_content"
    assert not outcome.error.retryable
