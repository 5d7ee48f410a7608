"""A signature of a thought goes back to the vendor that made it, and to nobody else."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from chat.events import Finish, ReasoningDelta, Start, StreamEvent, TextDelta
from chat.fold import fold
from chat.request import ChatRequest, Json, Message, Reasoning, Text
from chat.trace import Trace
from dialects.anthropic import AnthropicDialect
from dialects.base import RelayDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect
from dialects.openai import OpenAiDialect, OpenAiQuirks
from tests.dialects.cuts import play

ANTHROPIC, GEMINI = AnthropicDialect(), GeminiDialect()
OPENAI, OLLAMA = OpenAiDialect(OpenAiQuirks(reasoning_history=True)), OllamaDialect()
DIALECTS: tuple[RelayDialect, ...] = (ANTHROPIC, GEMINI, OPENAI, OLLAMA)
SIGNATURE = "c2lnbmF0dXJl"
ASKED = ChatRequest("m", (Message("user", (Text("x"),)),), stream=True, include_thoughts=True)
TRACE = Trace("r1")

every_caller = pytest.mark.parametrize("caller", DIALECTS, ids=lambda dialect: dialect.name)
every_vendor = pytest.mark.parametrize("vendor", ["anthropic", "gemini"])


def thought(vendor: str | None) -> list[StreamEvent]:
    return [
        Start(),
        ReasoningDelta("Let me see."),
        ReasoningDelta(signature=SIGNATURE, vendor=vendor),
        ReasoningDelta("More."),
        TextDelta("So."),
        Finish("stop"),
    ]


def redacted(vendor: str | None) -> list[StreamEvent]:
    return [
        Start(),
        ReasoningDelta(redacted=SIGNATURE, vendor=vendor),
        TextDelta("So."),
        Finish("stop"),
    ]


def whole(caller: RelayDialect, events: list[StreamEvent]) -> Json:
    return caller.render_response(ASKED, fold(events), TRACE, lambda: 0.0)


def streamed(caller: RelayDialect, events: list[StreamEvent]) -> bytes:
    renderer = caller.renderer(ASKED, "r1", "m", lambda: 0.0)
    return b"".join(renderer.feed([event]) for event in events) + renderer.close(TRACE)


def next_turn(caller: RelayDialect, answer: Json) -> dict[str, Json]:
    """The caller's next body, with the answer in its history as clients put it there."""
    if caller.name == "gemini":
        said = answer["candidates"][0]["content"]
        user = {"role": "user", "parts": [{"text": "x"}]}
        return {"model": "m", "contents": [user, said, user]}
    if caller.name == "anthropic":
        said = {"role": "assistant", "content": answer["content"]}
    else:
        said = answer["message"] if caller.name == "ollama" else answer["choices"][0]["message"]
    user = {"role": "user", "content": "x"}
    return {"model": "m", "max_tokens": 9, "messages": [user, said, user]}


@every_caller
@every_vendor
@pytest.mark.parametrize("said", [thought, redacted])
def test_a_signature_makes_the_round_only_between_its_vendor_and_a_caller_of_its_words(
    caller: RelayDialect, vendor: str, said: Callable[[str | None], list[StreamEvent]]
) -> None:
    events = said(vendor)
    bound = caller.name == vendor and (said is thought or vendor == "anthropic")
    answer = whole(caller, events)
    assert (SIGNATURE in orjson.dumps(answer).decode()) == bound
    assert (SIGNATURE in streamed(caller, events).decode()) == bound
    asked = caller.parse_request(next_turn(caller, answer))
    for upstream in DIALECTS:
        body = orjson.dumps(upstream.build_request(asked, "some-model")).decode()
        assert (SIGNATURE in body) == (bound and upstream.name == vendor)


@every_caller
@pytest.mark.parametrize("said", [thought, redacted])
def test_what_nobody_vouches_for_goes_to_nobody(
    caller: RelayDialect, said: Callable[[str | None], list[StreamEvent]]
) -> None:
    assert SIGNATURE not in orjson.dumps(whole(caller, said(None))).decode()
    assert SIGNATURE not in streamed(caller, said(None)).decode()
    parts = Reasoning("hm", SIGNATURE), Reasoning(redacted=SIGNATURE), Text("So.")
    request = ChatRequest("m", (*ASKED.messages, Message("assistant", parts), *ASKED.messages))
    assert SIGNATURE not in orjson.dumps(caller.build_request(request, "some-model")).decode()


@every_caller
def test_a_foreign_thought_is_told_without_its_signature(caller: RelayDialect) -> None:
    foreign = "gemini" if caller.name == "anthropic" else "anthropic"
    outcome = play(caller, [streamed(caller, thought(foreign))])
    assert outcome.error is None
    said = [event.text for event in outcome.events if isinstance(event, ReasoningDelta)]
    assert said == ["Let me see.", "More."]
    again = fold(caller.parse_response(whole(caller, thought(foreign))))
    assert again.reasoning == "Let me see.More."
    assert again.text == "So."


def test_a_foreign_signature_ends_a_block_of_thought_in_a_stream_and_in_a_whole_answer() -> None:
    kinds = [block["type"] for block in whole(ANTHROPIC, thought("gemini"))["content"]]
    assert kinds == ["thinking", "thinking", "text"]
    frames = streamed(ANTHROPIC, thought("gemini")).decode()
    assert frames.count('"content_block":{"type":"thinking"') == 2


@every_vendor
def test_the_parser_says_whose_signature_it_is(vendor: str) -> None:
    dialect = ANTHROPIC if vendor == "anthropic" else GEMINI
    for events in (
        play(dialect, [streamed(dialect, thought(vendor))]).events,
        dialect.parse_response(whole(dialect, thought(vendor))),
    ):
        signed = [part for part in fold(events).parts if isinstance(part, Reasoning)]
        assert [(part.signature, part.vendor) for part in signed] in (
            [(SIGNATURE, vendor), (None, None)],
            # Gemini's wire has no end of a block of thought but the signature itself.
            [(None, None), (SIGNATURE, vendor), (None, None)],
        )


def test_a_relayed_history_goes_without_thoughts_of_another_vendor() -> None:
    body = next_turn(ANTHROPIC, whole(ANTHROPIC, thought("gemini")))
    sent = ANTHROPIC.relay_body(body, "claude-sonnet-4-5")
    assert sent["messages"][1]["content"] == [{"type": "text", "text": "So."}]
    own = next_turn(ANTHROPIC, whole(ANTHROPIC, thought("anthropic")))
    kept = ANTHROPIC.relay_body(own, "claude-sonnet-4-5")["messages"][1]["content"]
    assert [block.get("signature") for block in kept] == [SIGNATURE, None]
