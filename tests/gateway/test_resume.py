"""`resume = true`: where an answer breaks off, the next target goes on with the text."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from gateway.engine.ports import Settlement
from gateway.engine.resume import Seam
from tests.doors.upstreams import HELLO, play, provider
from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream

BEGUN = openai_stream("Once upon ", "a time", finish=None)
REST = openai_stream(" there was", " an end.")
SMILES = openai_stream("Once upon ", "a time", "🙂")
ENDINGS = {
    "cut by reset": Play(BEGUN, cut=len(BEGUN)),
    "cut cleanly": Play(BEGUN),
    "stalled": Play(BEGUN, stall=len(BEGUN)),
    "garbage": Play(BEGUN + b"data: {nonsense\n\n"),
    "an error event": Play(BEGUN + b'data: {"error": {"message": "overloaded"}}\n\n'),
    "cut inside a character": Play(SMILES, cut=SMILES.index("🙂".encode()) + 2),
}


@asynccontextmanager
async def resuming(
    first: Play, *then: Play, prefill: bool | None = True, **tree: Any
) -> AsyncGenerator[tuple[Running, ReplayServer, ReplayServer], None]:
    """A route whose first target plays `first` and whose second goes on with a given text."""
    async with ReplayServer(first) as one, ReplayServer(*then) as two:
        given: dict[str, Any] = {
            "providers": {"hard": openai_provider(one.url), "easy": openai_provider(two.url)},
            "routes": {"auto": {"local": ["easy/m"], "strong": ["hard/m"], "resume": True}},
            "models": {"easy/m": {"prefill": prefill}},
        }
        for section, values in tree.items():
            given[section] = {**given.get(section, {}), **values}
        async with running(settings(**given)) as gateway:
            yield gateway, one, two


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_next_target_goes_on_where_an_answer_broke_off(ending: str) -> None:
    # Only the limit that the fault runs into is short: a busy machine is no fault.
    limits = {"idle_s": 0.5} if ending == "stalled" else {}
    async with resuming(ENDINGS[ending], Play(REST), attempts=limits) as (gateway, _, two):
        settled: list[Settlement] = []
        gateway.services.recorder.listeners.append(settled.append)
        answer = await gateway.complete(message="Hi")
        assert answer.text == "Once upon a time there was an end."
        assert answer.closing["finish_reason"] == "stop"
        assert answer.route["resumed_from"] == ["hard/m"]
        assert answer.route["target"] == "easy/m"
        [received] = two.received
        assert received.body["messages"] == [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Once upon a time"},
        ]
        [one] = settled
        assert one.outcome == "finished"
        assert [attempt.outcome for attempt in one.attempts][-1] == "finished"
        assert one.attempts[0].outcome in ("upstream_error", "timeout")
        assert len(one.attempts) == 2


async def test_the_usage_of_both_is_counted() -> None:
    with_usage = BEGUN.replace(
        b'"finish_reason":null}]}',
        b'"finish_reason":null}],"usage":{"prompt_tokens":7,"completion_tokens":4}}',
    )
    async with resuming(Play(with_usage), Play(REST)) as (gateway, _, _):
        settled: list[Settlement] = []
        gateway.services.recorder.listeners.append(settled.append)
        answer = await gateway.complete(message="Hi")
        assert answer.closing["usage"]["input_tokens"] == 7 + 3
        assert answer.closing["usage"]["output_tokens"] == 4 + 2
        assert settled[0].usage.input_tokens == 10
        assert [attempt.usage.output_tokens for attempt in settled[0].attempts] == [4, 2]


async def test_an_answer_is_not_gone_on_with_by_default() -> None:
    route = {"local": ["easy/m"], "strong": ["hard/m"]}
    async with resuming(Play(BEGUN), Play(REST), routes={"auto": route}) as (gateway, _, two):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "Once upon a time"
        assert answer.closing["error"]
        assert not two.received


async def test_who_would_begin_anew_is_not_asked_to_go_on() -> None:
    """OpenAI's own models, for one: nothing is repeated, so the failure is told."""
    async with resuming(Play(BEGUN), Play(REST), prefill=None) as (gateway, _, two):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "Once upon a time"
        assert answer.closing["error"]["type"] == "upstream_error"
        assert not two.received


def calls_a_tool() -> bytes:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
    return BEGUN.replace(b'"content":"a time"', b'"tool_calls":[' + orjson.dumps(call) + b"]")


NOT_TOLD_ON = {
    "a tool call": calls_a_tool(),
    "a thought": BEGUN.replace(b'"content":"a time"', b'"reasoning_content":"hm"'),
    "a refusal": BEGUN.replace(b'"content":"a time"', b'"refusal":"no"'),
}


@pytest.mark.parametrize("name", NOT_TOLD_ON)
async def test_calls_thoughts_and_refusals_are_not_gone_on_with(name: str) -> None:
    async with resuming(Play(NOT_TOLD_ON[name]), Play(REST)) as (gateway, _, two):
        answer = await gateway.complete(message="Hi")
        assert answer.closing["error"]
        assert not two.received


async def test_an_answer_in_a_format_is_not_gone_on_with() -> None:
    """Its grammar holds from the first character on."""
    shape = {"name": "x", "schema": {"type": "object"}}
    body = {
        "model": "auto",
        "stream": True,
        "messages": [{"role": "user", "content": "Hi"}],
        "response_format": {"type": "json_schema", "json_schema": shape},
    }
    begun = Play(openai_stream('{"a": ', finish=None))
    async with (
        resuming(begun, Play(REST)) as (gateway, _, two),
        gateway.session.post(gateway.url + "/v1/chat/completions", json=body) as response,
    ):
        raw = await response.read()
        assert b"error" in raw
        assert b"[DONE]" not in raw
        assert not two.received


async def test_when_nobody_can_go_on_the_first_failure_is_told() -> None:
    async with resuming(Play(BEGUN), openai_error(500)) as (gateway, _, two):
        answer = await gateway.complete(message="Hi")
        assert answer.text == "Once upon a time"
        assert answer.closing["error"]["type"] == "upstream_error"
        assert "500" not in answer.closing["error"]["message"]
        assert len(two.received) == 2
        failed = {"provider": "hard", "model": "other", "outcome": "upstream_error"}
        assert gateway.counted("pointsman_attempts_total", **failed) == 1


async def test_what_was_gone_on_with_may_break_off_again() -> None:
    async with ReplayServer(Play(openai_stream(" three"))) as last:
        more = openai_stream(" two", finish=None)
        async with resuming(
            Play(openai_stream("one", finish=None)),
            Play(more),
            providers={"last": openai_provider(last.url)},
            routes={"auto": {"local": ["easy/m", "last/m"], "strong": ["hard/m"], "resume": True}},
            models={"easy/m": {"prefill": True}, "last/m": {"prefill": True}},
        ) as (gateway, _, _):
            answer = await gateway.complete(message="Hi")
            assert answer.text == "one two three"
            assert answer.route["resumed_from"] == ["hard/m", "easy/m"]
            assert last.received[0].body["messages"][-1]["content"] == "one two"


async def test_the_limit_of_tokens_holds_over_both() -> None:
    async with resuming(Play(BEGUN), Play(REST)) as (gateway, _, two):
        await gateway.complete(message="Hi", max_tokens=100)
        assert two.received[0].body["max_tokens"] == 100 - len("Once upon a time") // 4


async def test_a_caller_who_leaves_meanwhile_frees_the_upstream() -> None:
    async with resuming(Play(BEGUN), Play(REST, before_s=30)) as (gateway, _, two):
        async with gateway.session.post(gateway.url + "/complete", json={"message": "Hi"}) as told:
            await told.content.readany()
            await two.until_received()
            told.close()
        await two.until_left()
        labels = {"provider": "hard", "outcome": "cancelled"}
        assert gateway.summed("pointsman_requests_total", outcome="cancelled") == 1, labels
        assert gateway.counted("pointsman_in_flight") == 0


SPACES = {
    "in the continuation": ("Hello ", " world", "Hello world"),
    "not in it": ("Hello ", "world", "Hello world"),
    "two lines": ("a\n\n", "\n\nb", "a\n\nb"),
    "one of two lines": ("a\n\n", "\nb", "a\n\nb"),
    "more than there was": ("a ", "  b", "a  b"),
    "none": ("Hel", "lo", "Hello"),
    "nothing but": (" \n", " \nx", " \nx"),
}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("cut", [True, False])
async def test_no_whitespace_is_lost_or_told_twice(name: str, *, cut: bool) -> None:
    begun, then, whole = SPACES[name]
    pieces = list(then) if cut else [then]
    first = Play(openai_stream(begun, finish=None))
    async with resuming(first, Play(openai_stream(*pieces))) as (gateway, _, two):
        answer = await gateway.complete(message="Hi")
        assert answer.text == whole
        last = two.received[0].body["messages"][-1]
        assert last["content"] == (begun.rstrip() or "Hi")


LONG = "It was the best of times, it was the worst of times"
SEAMS = {
    "an echo": (LONG, [LONG + ", it was"], ", it was"),
    "an echo in pieces": (LONG, [LONG[:10], LONG[10:], ", it was"], ", it was"),
    "half an echo": (LONG, [LONG[:10], "and so on"], LONG[:10] + "and so on"),
    "half an echo at the end": (LONG, [LONG[:10]], LONG[:10]),
    "a short text twice": ("ha", ["ha"], "ha"),
    "an echo and a space": (LONG + " ", [LONG + " x"], "x"),
}


@pytest.mark.parametrize("name", SEAMS)
def test_what_was_told_is_not_told_twice(name: str) -> None:
    told, pieces, new = SEAMS[name]
    seam = Seam(told)
    assert "".join([seam.past(piece) for piece in pieces]) + seam.flushed() == new


DOORS = {
    "/v1/chat/completions": b': resumed_from ["hard/m"]\n',
    "/v1/messages": b'"resumed_from":["hard/m"]',
    "/api/chat": b'"resumed_from":["hard/m"]',
}


@pytest.mark.parametrize("path", DOORS)
async def test_each_language_declares_it_in_its_closing_event(path: str) -> None:
    body = {
        "model": "auto",
        "stream": True,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    async with (
        resuming(Play(BEGUN), Play(REST)) as (gateway, _, _),
        gateway.session.post(gateway.url + path, json=body) as response,
    ):
        raw = await response.read()
    assert DOORS[path] in raw
    assert raw.count(b"Once upon") == raw.count(b"an end.") == 1
    assert raw.count(b'"role":"assistant"') in (1, raw.count(b"\n"))


CONTINUES: dict[str, tuple[dict[str, Any], str, bool]] = {
    "an older Claude": ({"kind": "anthropic"}, "claude-sonnet-4-5", True),
    "a Claude that refuses it": ({"kind": "anthropic"}, "claude-opus-4-6", False),
    "an Ollama": ({"kind": "ollama", "prefill": "assistant"}, "m", True),
    "a llama.cpp": ({"kind": "openai", "prefill": "assistant"}, "m", True),
    "a vLLM": ({"kind": "openai", "prefill": "flags"}, "m", True),
    "a Gemini": ({"kind": "gemini"}, "m", False),
    "an OpenAI": ({"kind": "openai"}, "gpt-4o", False),
}


@pytest.mark.parametrize("name", CONTINUES)
async def test_who_goes_on_is_known_and_told_so_in_his_own_words(name: str) -> None:
    row, model, goes_on = CONTINUES[name]
    begun = Play(openai_stream("Once upon", finish=None))
    async with (
        ReplayServer(begun) as first,
        ReplayServer(play(row["kind"], HELLO, True)) as second,
    ):
        tree = provider(row["kind"], second.url)
        given = settings(
            providers={"hard": openai_provider(first.url), "easy": {**tree, **row}},
            routes={"auto": {"local": [f"easy/{model}"], "strong": ["hard/m"], "resume": True}},
        )
        async with running(given) as gateway:
            answer = await gateway.complete(message="Hi")
    assert len(second.received) == goes_on
    if not goes_on:
        assert answer.closing["error"]
        return
    assert answer.text == "Once upon" + HELLO.text
    asked = second.received[0].body
    last = asked["messages"][-1]
    assert last["role"] == "assistant"
    said = last["content"]
    assert (said if isinstance(said, str) else said[0]["text"]) == "Once upon"
    flags = row.get("prefill") == "flags"
    assert asked.get("continue_final_message", False) is flags
    assert asked.get("add_generation_prompt", True) is not flags
