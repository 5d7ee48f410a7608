"""Ollama to Ollama: lines pass, under the caller's name for the model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chat.errors import Broken
from chat.events import Start, ToolCallDelta, Usage
from dialects.base import RelayDialect
from dialects.framing import Frame
from dialects.ollama import OllamaDialect
from tests.dialects.cuts import Recording, play, recordings

DIALECT: RelayDialect = OllamaDialect()
CASES = recordings("ollama")
HI = {"role": "user", "content": "hi"}


def relayed(data: bytes, model: str = "auto") -> tuple[list[Frame], Usage]:
    watch = DIALECT.watch({"model": model}, model)
    decoder = DIALECT.framing.decoder()
    frames = list(watch.feed(decoder.feed(data))) + list(watch.feed(decoder.close()))
    frames += watch.close()
    return frames, watch.usage


@pytest.mark.parametrize("recording", CASES, ids=lambda recording: str(recording.case.name))
def test_a_relayed_recording_means_the_same_under_the_callers_name(recording: Recording) -> None:
    direct = play(DIALECT, [recording.response])
    if direct.error is not None:
        with pytest.raises(type(direct.error)) as caught:
            relayed(recording.response)
        assert caught.value.code == direct.error.code
        return
    frames, usage = relayed(recording.response)
    lines = b"".join(DIALECT.framing.encode(frame) for frame in frames)
    again = play(DIALECT, [lines])
    ids = [event for event in again.events if isinstance(event, ToolCallDelta)]
    assert len(ids) == sum(isinstance(event, ToolCallDelta) for event in direct.events)
    for was, now_is in zip(direct.events, again.events, strict=True):
        if isinstance(was, Start):
            assert now_is == Start(model="auto")
        elif not isinstance(was, ToolCallDelta):
            assert now_is == was
    told = [event for event in direct.events if isinstance(event, Usage)]
    assert usage == (told[-1] if told else Usage())
    # Each line is one for the Python client, and has what it insists on.
    for line in lines.decode().splitlines():
        value = json.loads(line)
        assert value["model"] == "auto"
        assert isinstance(value["message"], dict)


def test_a_relayed_line_is_touched_only_where_the_model_stands() -> None:
    line = b'{"model":"llama3.2","created_at":"t","message":{"role":"assistant","content":"\xc3\xa9 {\\"model\\":\\"llama3.2\\"}"},"done":false}'  # noqa: E501
    last = b'{"model":"llama3.2","message":{"role":"assistant","content":""},"done":true}'
    frames, _ = relayed(line + b"\n" + line + b"\n" + last + b"\n")
    assert [frame.data for frame in frames] == [
        line.replace(b'"llama3.2"', b'"auto"', 1),
        line.replace(b'"llama3.2"', b'"auto"', 1),
        last.replace(b'"llama3.2"', b'"auto"'),
    ]


@pytest.mark.parametrize(
    "tricky",
    [
        b'{"model":"m","message":{"content":"done"},"done":false}',
        b'{"model":"m","message":{"content":"\\"done\\":true \\"error\\""},"done":false}',
        b'{"model":"m","message":{"tool_calls":[{"function":{"name":"f","arguments":'
        b'{"done":true,"error":"x"}}}]},"done":false}',
    ],
)
def test_words_inside_a_relayed_line_are_not_its_end(tricky: bytes) -> None:
    watch = DIALECT.watch({}, "m2")
    first = Frame(b'{"model":"m","message":{"content":"a"},"done":false}')
    assert len(watch.feed([first, Frame(tricky)])) == 2
    with pytest.raises(Broken) as caught:
        watch.close()
    assert caught.value.code == "cut"


def test_an_end_beside_arguments_that_say_otherwise_is_seen() -> None:
    frames, usage = relayed(
        b'{"model":"m","message":{"content":"a"},"done":false}\n'
        b'{"model":"m","message":{"content":"","tool_calls":[{"function":{"name":"f",'
        b'"arguments":{"done":false}}}]},"done":true,"eval_count":3}\n'
    )
    assert len(frames) == 2
    assert usage == Usage(output_tokens=3)


def test_a_relayed_one_shot_answer_may_be_spread_over_lines() -> None:
    body = json.dumps({"model": "m", "message": {"content": "a"}, "done": True}, indent=2)
    watch = DIALECT.watch({}, "auto")
    (frame,) = watch.feed([Frame(body.encode())])
    assert frame.data == b'{"model":"auto","message":{"content":"a"},"done":true}'
    assert list(watch.close()) == []


def test_a_relayed_body_is_the_callers_with_the_model_and_a_context() -> None:
    body = {"model": "auto", "messages": [HI], "think": True, "keep_alive": 0}
    sent = DIALECT.relay_body(body, "llama3.2")
    assert sent == {**body, "model": "llama3.2", "options": {"num_ctx": 4096}}
    assert body["model"] == "auto"
    assert "options" not in body


@pytest.mark.parametrize(
    ("options", "context"),
    [
        ({"num_ctx": 2048}, 2048),
        ({"num_predict": 8000}, 16384),
        ({"num_predict": -1}, 8192),
        (None, 8192),
    ],
)
def test_a_relayed_context_fits_unless_the_caller_chose_one(
    options: dict[str, Any] | None, context: int
) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "x" * 12_000}]}
    if options is not None:
        body["options"] = options  # type: ignore[assignment]
    sent = DIALECT.relay_body(body, "llama3.2")
    assert sent["options"] == {**(options or {}), "num_ctx": context}
