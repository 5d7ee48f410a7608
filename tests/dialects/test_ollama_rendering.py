"""What a caller of Ollama is answered: streams, one-shot answers, errors, loads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import (
    BadRequest,
    Broken,
    Denied,
    GatewayError,
    LimitReached,
    ModelNotFound,
    NotIdentified,
)
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
from chat.request import ChatRequest, Message, Text
from chat.trace import Trace
from dialects.base import InboundDialect
from dialects.ollama import OllamaDialect, OllamaGenerateDialect, load_reply
from tests.dialects.cuts import play

CHAT: InboundDialect = OllamaDialect()
GENERATE: InboundDialect = OllamaGenerateDialect()
HI = {"role": "user", "content": "hi"}
ASKED = ChatRequest("m1", (Message("user", (Text("hi"),)),), stream=True)


def now() -> float:
    return 1767225600.123456


# The stream.


def rendered(
    *batches: Sequence[StreamEvent],
    request: ChatRequest = ASKED,
    dialect: InboundDialect = CHAT,
    trace: Trace | None = None,
) -> bytes:
    renderer = dialect.renderer(request, "1", "ollama/other", now)
    written = b"".join(renderer.feed(batch) for batch in batches)
    return written + renderer.close(trace or Trace("r1"))


HEAD = b'{"model":"m1","created_at":"2026-01-01T00:00:00.123456Z",'
TALK: list[StreamEvent] = [
    Start("x", "gpt"),
    ReasoningDelta("Hm"),
    TextDelta("Hel"),
    TextDelta(""),
    TextDelta("lo\u2028\x85\x7f 👋"),
    Usage(3, None),
    Usage(None, 4),
    Finish("stop"),
]


def test_the_bytes_of_a_chat_are_exact() -> None:
    trace = Trace("r1", first_token_ms=20.0, total_ms=50.5)
    said = HEAD + b'"message":{"role":"assistant","content":'
    assert rendered(TALK[:4], TALK[4:], trace=trace) == (
        said + b'"","thinking":"Hm"},"done":false}\n' + said + b'"Hel"},"done":false}\n'
        # An emoji is a pair of surrogates, every line end of Unicode an escape.
        + said + rb'"lo\u2028\u0085\u007f \ud83d\udc4b"},"done":false}' + b"\n"
        + said + b'""},"done":true,"done_reason":"stop","total_duration":50500000,'
        b'"prompt_eval_count":3,"prompt_eval_duration":20000000,"eval_count":4,'
        b'"eval_duration":30500000}\n'
    )  # fmt: skip


def test_the_bytes_of_generate_are_exact() -> None:
    trace = Trace("r1", total_ms=1.0)
    said = HEAD + b'"response":'
    assert rendered(TALK, dialect=GENERATE, trace=trace) == (
        said + b'"","thinking":"Hm","done":false}\n' + said + b'"Hel","done":false}\n'
        + said + rb'"lo\u2028\u0085\u007f \ud83d\udc4b","done":false}' + b"\n"
        + said + b'"","done":true,"done_reason":"stop","total_duration":1000000,'
        b'"prompt_eval_count":3,"eval_count":4}\n'
    )  # fmt: skip


def test_a_tool_call_is_one_line_with_an_object() -> None:
    data = rendered(
        [Start(), ToolCallDelta(0, "call_1", "f", "")],
        [ToolCallDelta(0, arguments='{"city":"K'), ToolCallDelta(0, arguments='öln"}')],
        [ToolCallDelta(1, "call_2", "g"), Usage(1, 1)],
        [ToolCallDelta(2, "call_3", "h", "[1"), Finish("tool_calls")],
    )
    lines = [json.loads(line) for line in data.splitlines()]
    assert [line["message"].get("tool_calls") for line in lines] == [
        [{"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"city": "Köln"}}}],
        [{"id": "call_2", "function": {"index": 1, "name": "g", "arguments": {}}}],
        [{"id": "call_3", "function": {"index": 2, "name": "h", "arguments": {"_raw": "[1"}}}],
        None,
    ]
    assert [line["done"] for line in lines] == [False, False, False, True]
    assert lines[-1]["done_reason"] == "stop"


def test_text_after_a_tool_call_comes_after_it() -> None:
    data = rendered(
        [Start(), ToolCallDelta(0, "c", "f", "{}"), TextDelta("so"), Finish("tool_calls")]
    )
    first, second, _ = (json.loads(line)["message"] for line in data.splitlines())
    assert first["tool_calls"][0]["id"] == "c"
    assert second["content"] == "so"


def test_usage_that_comes_after_the_finish_is_told() -> None:
    last = json.loads(rendered([Start(), Finish("length")], [Usage(5, 6)]).splitlines()[-1])
    assert (last["prompt_eval_count"], last["eval_count"]) == (5, 6)
    assert last["done_reason"] == "length"


def test_counts_that_nobody_gave_are_absent() -> None:
    last = json.loads(rendered([Start(), Finish("content_filter")]))
    assert "prompt_eval_count" not in last
    assert "eval_count" not in last
    assert last["done_reason"] == "stop"


def test_a_refusal_is_text() -> None:
    first = json.loads(rendered([RefusalDelta("No."), Finish("stop")]).splitlines()[0])
    assert first["message"]["content"] == "No."


def test_thoughts_are_hidden_from_who_wants_none() -> None:
    request = replace(ASKED, include_thoughts=False)
    assert b"Hm" not in rendered(TALK, request=request)
    answer = CHAT.render_response(request, fold(TALK), Trace("r1"), now)
    assert "thinking" not in answer["message"]


def test_redacted_thoughts_are_not_shown() -> None:
    data = rendered([ReasoningDelta(redacted="b2s="), Finish("stop")])
    assert len(data.splitlines()) == 1


def test_the_keepalive_is_an_empty_line_of_talk() -> None:
    keepalive = CHAT.renderer(ASKED, "1", "m", now).keepalive
    assert keepalive == HEAD + b'"message":{"role":"assistant","content":""},"done":false}\n'
    assert (
        GENERATE.renderer(ASKED, "1", "m", now).keepalive == HEAD + b'"response":"","done":false}\n'
    )


def test_a_stream_that_fails_ends_with_an_error_line_and_no_done() -> None:
    renderer = CHAT.renderer(ASKED, "1", "m", now)
    renderer.feed([Start(), TextDelta("Hel"), ToolCallDelta(0, "c", "f", '{"a')])
    assert renderer.fail(Broken("It broke\u2028 off.")) == b'{"error":"It broke\\u2028 off."}\n'


def test_a_client_that_splits_lines_as_python_does_reads_all() -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\rj\nk 👨‍👩‍👧 \ufeff"
    data = rendered([Start(), TextDelta(text), ReasoningDelta(text), Finish("stop")])
    assert data.isascii()
    assert b"\n\n" not in data
    assert data.endswith(b"\n")
    assert data.startswith(b"{")
    lines = [json.loads(line) for line in data.decode().splitlines()]
    assert lines[0]["message"]["content"] == text
    assert lines[1]["message"]["thinking"] == text
    assert all(isinstance(line["message"], dict) for line in lines)


ARGUMENTS = st.dictionaries(st.text(max_size=5), st.text(max_size=9) | st.integers(-9, 9)).map(
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
)
SAID = st.text(min_size=1).map(TextDelta) | st.text(min_size=1).map(ReasoningDelta)


@st.composite
def streams(draw: st.DrawFn) -> list[StreamEvent]:
    """What Ollama's wire can say, a tool call in one piece."""
    events: list[StreamEvent] = [Start(model="m1")]
    calls = 0
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            events.append(draw(SAID))
        else:
            name = draw(st.text(min_size=1, max_size=5))
            events.append(ToolCallDelta(calls, f"call_{calls}", name, draw(ARGUMENTS)))
            calls += 1
    counts = st.none() | st.integers(0, 4000)
    usage = Usage(draw(counts), draw(counts))
    if usage.total_tokens is not None:
        events.append(usage)
    ended = Finish("tool_calls" if calls else "stop")
    events.append(draw(st.sampled_from([Finish("length"), ended])))
    return events


@given(events=streams(), data=st.data())
def test_events_rendered_and_parsed_are_the_same_events(
    events: list[StreamEvent], data: st.DataObject
) -> None:
    fed: list[StreamEvent] = []
    for event in events:
        if isinstance(event, ToolCallDelta):
            cut = data.draw(st.integers(0, len(event.arguments)))
            fed.append(replace(event, arguments=event.arguments[:cut]))
            fed.append(ToolCallDelta(event.index, arguments=event.arguments[cut:]))
        else:
            fed.append(event)
    cut = data.draw(st.integers(0, len(fed)))
    written = rendered(fed[:cut], fed[cut:])
    assert written.isascii()
    outcome = play(OllamaDialect(), [written])
    assert outcome.error is None
    assert outcome.events == events


@given(events=streams())
def test_a_response_rendered_and_parsed_is_the_same_response(events: list[StreamEvent]) -> None:
    response = fold(events)
    answer = CHAT.render_response(ASKED, response, Trace("r1"), now)
    again = fold(OllamaDialect().parse_response(json.loads(json.dumps(answer))))
    assert (again.text, again.reasoning) == (response.text, response.reasoning)
    assert again.tool_calls == response.tool_calls
    assert (again.finish, again.usage) == (response.finish, response.usage)


# One-shot answers and errors.


def test_a_one_shot_answer_is_the_last_line_with_everything_in_it() -> None:
    events: list[StreamEvent] = [
        *TALK[:-1],
        ToolCallDelta(0, "call_1", "f", '{"a":1}'),
        Finish("tool_calls"),
    ]
    trace = Trace("r1", total_ms=2.0, first_token_ms=0.5)
    assert CHAT.render_response(ASKED, fold(events), trace, now) == {
        "model": "m1",
        "created_at": "2026-01-01T00:00:00.123456Z",
        "message": {
            "role": "assistant",
            "content": "Hello\u2028\x85\x7f 👋",
            "thinking": "Hm",
            "tool_calls": [
                {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
            ],
        },
        "done": True,
        "done_reason": "stop",
        "total_duration": 2_000_000,
        "prompt_eval_count": 3,
        "prompt_eval_duration": 500_000,
        "eval_count": 4,
        "eval_duration": 1_500_000,
    }


def test_a_one_shot_answer_of_generate_stands_under_response() -> None:
    events: list[StreamEvent] = [Start(), RefusalDelta("No."), Finish("stop")]
    assert GENERATE.render_response(ASKED, fold(events), Trace("r1"), now) == {
        "model": "m1",
        "created_at": "2026-01-01T00:00:00.123456Z",
        "response": "No.",
        "done": True,
        "done_reason": "stop",
    }


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            BadRequest("messages must not be empty.", param="messages"),
            "messages must not be empty.",
        ),
        (
            ModelNotFound("x", ["y"]),
            "model not found: The model 'x' does not exist. Did you mean y?",
        ),
        (NotIdentified("Who are you?"), "unauthorized: Who are you?"),
        (LimitReached("Too fast.", retry_after=3), "Too fast."),
        (Denied("Our key was refused."), "Our key was refused."),
    ],
)
def test_an_error_is_a_string(error: GatewayError, text: str) -> None:
    assert CHAT.render_error(error) == {"error": text}
    assert GENERATE.render_error(error) == {"error": text}


# Loading.


@pytest.mark.parametrize(
    ("keep_alive", "reason"),
    [
        ({}, "load"),
        ({"keep_alive": "5m"}, "load"),
        ({"keep_alive": -1}, "load"),
        ({"keep_alive": None}, "load"),
        ({"keep_alive": 0}, "unload"),
        ({"keep_alive": "0"}, "unload"),
        ({"keep_alive": "0s"}, "unload"),
        ({"keep_alive": 0.0}, "unload"),
    ],
)
def test_a_chat_without_messages_loads_or_unloads(keep_alive: Any, reason: str) -> None:
    assert load_reply({"model": "m1", "messages": [], **keep_alive}, now) == {
        "model": "m1",
        "created_at": "2026-01-01T00:00:00.123456Z",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": reason,
    }


def test_generate_without_a_prompt_loads() -> None:
    reply = load_reply({"model": "m1", "prompt": "", "keep_alive": 0}, now)
    assert reply == {
        "model": "m1",
        "created_at": "2026-01-01T00:00:00.123456Z",
        "response": "",
        "done": True,
        "done_reason": "unload",
    }


def test_a_bare_model_is_loaded_at_both_doors() -> None:
    reply = load_reply({"model": "m1"}, now) or {}
    assert reply["response"] == ""
    assert reply["message"] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m1", "messages": [HI]},
        {"model": "m1", "prompt": "hi"},
        {"model": "m1", "messages": "wrong"},
        {"messages": []},
        {"model": "", "messages": []},
        {"model": 3},
        [],
        None,
    ],
)
def test_what_asks_something_or_nothing_at_all_loads_nothing(body: Any) -> None:
    assert load_reply(body, now) is None
