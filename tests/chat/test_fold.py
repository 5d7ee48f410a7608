"""Events -> one response, and what is left of a stream that failed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import Broken
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
from chat.fold import ChatResponse, Folder, fold
from chat.request import Reasoning, Text, ToolCall


def folded(*events: StreamEvent) -> ChatResponse:
    return fold([Start("a", "m"), *events, Finish("stop")])


def test_text_is_joined_byte_for_byte() -> None:
    response = folded(TextDelta(" Hel"), TextDelta(""), TextDelta("lo\n"), TextDelta("\n"))
    assert response.parts == (Text(" Hello\n\n"),)
    assert (response.id, response.model, response.text) == ("a", "m", " Hello\n\n")
    assert response.finish == Finish("stop")
    assert response.refusal is None


def test_an_answer_of_nothing_has_no_parts() -> None:
    assert folded().parts == ()
    assert folded(TextDelta("")).parts == ()


def test_parts_keep_the_order_in_which_they_came() -> None:
    response = folded(
        ReasoningDelta("hm"),
        ReasoningDelta("m"),
        TextDelta("a"),
        ToolCallDelta(0, "c0", "f", ""),
        ToolCallDelta(0, arguments='{"x":'),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(1, "c1", "g", "{}"),
        TextDelta("b"),
        ReasoningDelta("again"),
    )
    assert response.parts == (
        Reasoning("hmm"),
        Text("a"),
        ToolCall("c0", "f", '{"x":1}'),
        ToolCall("c1", "g", "{}"),
        Text("b"),
        Reasoning("again"),
    )
    assert response.reasoning == "hmmagain"
    assert [call.id for call in response.tool_calls] == ["c0", "c1"]


def test_usage_between_deltas_does_not_part_the_text() -> None:
    response = folded(TextDelta("a"), Usage(input_tokens=3), TextDelta("b"))
    assert response.parts == (Text("ab"),)


def test_a_signature_closes_its_block_of_thought() -> None:
    response = folded(
        ReasoningDelta("one"),
        ReasoningDelta(signature="s1"),
        ReasoningDelta("two", signature="s2", vendor="gemini"),
        ReasoningDelta(redacted="zzz", vendor="anthropic"),
        ReasoningDelta("three"),
    )
    assert response.parts == (
        Reasoning("one", "s1"),
        Reasoning("two", "s2", vendor="gemini"),
        Reasoning(redacted="zzz", vendor="anthropic"),
        Reasoning("three"),
    )


def test_a_redacted_block_closes_what_was_open() -> None:
    response = folded(ReasoningDelta("one"), ReasoningDelta(redacted="z"), TextDelta("a"))
    assert response.parts == (Reasoning("one"), Reasoning(redacted="z"), Text("a"))


def test_a_thought_of_nothing_is_no_part() -> None:
    assert folded(ReasoningDelta(""), TextDelta("a")).parts == (Text("a"),)
    assert folded(ReasoningDelta("", signature="s")).parts == (Reasoning("", "s"),)


def test_the_signature_of_a_call_stays_with_it() -> None:
    response = folded(ToolCallDelta(0, "c", "f", "{}", "sig"), ToolCallDelta(0, arguments=""))
    assert response.parts == (ToolCall("c", "f", "{}", "sig"),)


def test_refusals_are_joined_beside_the_parts() -> None:
    response = folded(RefusalDelta("I can"), TextDelta("x"), RefusalDelta("not"))
    assert response.refusal == "I cannot"
    assert response.parts == (Text("x"),)


def test_newer_usage_wins_and_what_it_leaves_out_is_kept() -> None:
    response = folded(
        Usage(input_tokens=9, cached_tokens=0, output_tokens=1), Usage(output_tokens=5)
    )
    assert response.usage == Usage(input_tokens=9, output_tokens=5, cached_tokens=0)
    assert response.usage.total_tokens == 14
    assert folded().usage == Usage()
    assert folded().usage.total_tokens is None


def test_a_cut_stream_is_not_a_success() -> None:
    with pytest.raises(Broken) as caught:
        fold([Start(), TextDelta("half")])
    assert caught.value.code == "cut"


def test_what_was_seen_before_a_failure_is_not_lost() -> None:
    folder = Folder()
    folder.feed([Start("a", "m"), TextDelta("ha")])
    folder.feed([Usage(input_tokens=3), TextDelta("lf")])
    with pytest.raises(Broken):
        folder.response()
    assert folder.usage == Usage(input_tokens=3)
    assert folder.start == Start("a", "m")
    assert folder.finish is None
    folder.feed([TextDelta("!"), Finish("length", detail="why")])
    assert folder.response().parts == (Text("half!"),)
    assert folder.response().finish == Finish("length", detail="why")


def test_a_response_may_be_asked_for_twice() -> None:
    folder = Folder()
    folder.feed([TextDelta("a"), Finish("stop")])
    assert folder.response() == folder.response()


EVENT = st.one_of(
    st.builds(TextDelta, st.text(max_size=3)),
    st.builds(RefusalDelta, st.text(max_size=3)),
    st.builds(ReasoningDelta, st.text(max_size=3), st.none() | st.just("s")),
    st.builds(Usage, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)),
)


@given(st.lists(EVENT), st.lists(st.integers(0, 20)))
def test_batches_mean_what_their_events_mean(events: list[StreamEvent], cuts: list[int]) -> None:
    whole = [Start("a", "m"), *events, Finish("stop")]
    folder = Folder()
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    for start, end in pairwise(edges):
        folder.feed(whole[start:end])
    assert folder.response() == fold(whole)
    said = [event.text for event in events if isinstance(event, TextDelta)]
    assert fold(whole).text == "".join(said)
    thought = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert fold(whole).reasoning == "".join(thought)
