"""The same answer through every pair of languages: five at the door, four behind it."""

from __future__ import annotations

import itertools

import pytest

from tests.doors.clients import DOORS, ask, question, read
from tests.doors.upstreams import (
    CALLS,
    EVERYTHING,
    HELLO,
    KINDS,
    LENGTH,
    THOUGHT,
    Said,
    play,
    provider,
)
from tests.replay.gateway import running, settings
from tests.replay.server import ReplayServer

SAIDS = {
    "text": HELLO,
    "length": LENGTH,
    "calls": CALLS,
    "thoughts": THOUGHT,
    "everything": EVERYTHING,
}
PAIRS = list(itertools.product(DOORS, KINDS))


@pytest.mark.parametrize("said", SAIDS.values(), ids=SAIDS)
@pytest.mark.parametrize(("door", "kind"), PAIRS)
async def test_text_thoughts_calls_finish_and_usage_are_the_same(
    door: str, kind: str, said: Said
) -> None:
    """Whole, streamed, and streamed from an upstream that writes three bytes at a time."""
    wanted = [(call.name, call.arguments) for call in said.calls]
    async with (
        ReplayServer() as upstream,
        running(settings(providers={"lab": provider(kind, upstream.url)})) as gateway,
    ):
        for stream, chunk in ((False, None), (True, None), (True, 3)):
            upstream.play(play(kind, said, stream, chunk=chunk))
            body = question(door, "Hi", stream=stream)
            if door == "gemini" and said.thoughts:
                config = {"thinkingConfig": {"includeThoughts": True}}
                body["generationConfig"] = config
            status, raw = await ask(gateway, door, body, stream=stream)
            assert status == 200, raw
            found = read(door, raw, stream=stream)
            assert found.text == said.text
            assert found.calls == wanted
            assert found.finish == said.finish
            assert found.usage == said.usage
            assert found.thoughts == "".join(said.thoughts)
