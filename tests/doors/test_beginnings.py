"""The beginning of an answer is never missing: a test for each known way of losing it
(PROTOCOLS 9.1, by its letters), at a door of the upstream's own language and at others."""

from __future__ import annotations

import orjson
import pytest

from tests.doors.case_rows import BEGUN, EARLY, chunk
from tests.doors.clients import DOORS, ask, question, read
from tests.doors.lab import lab
from tests.doors.test_case_table import text_before_error
from tests.doors.upstreams import (
    HELLO,
    NDJSON,
    Said,
    ollama_stream,
    openai_body,
    openai_stream,
    play,
    provider,
)
from tests.replay.gateway import running, settings
from tests.replay.server import Play, ReplayServer

PLAIN = openai_stream(HELLO)
BLANKS = Said(("  \n", "\n", " first", " "))
FIRST = chunk({"role": "assistant", "content": "First "})
BOTH = orjson.dumps(
    {"model": "m", "message": {"role": "assistant", "thinking": "So.", "content": "First "}}
)
UNCLOSED = Said(("<think", ">so it ", "begins"))
# The kind of upstream, its bytes and the text that they mean.
WAYS: dict[str, tuple[str, bytes, str]] = {
    "a: a BOM before the first data": ("openai", b"\xef\xbb\xbf" + PLAIN, HELLO.text),
    "c: role and content in one delta": ("openai", FIRST + PLAIN, "First " + HELLO.text),
    "d: text in content_block_start": ("anthropic", EARLY, "first " + HELLO.text),
    "e: a thought and text in one line": (
        "ollama",
        BOTH + b"\n" + ollama_stream(HELLO),
        "First " + HELLO.text,
    ),
    "f: the first letter in pieces": ("openai", openai_stream(Said(("🙂é", "."))), "🙂é."),
    "g: spaces and lines at the start": ("openai", openai_stream(BLANKS), BLANKS.text),
    "h: fields and named events before it": (
        "openai",
        b"retry: 9\nid: 1\nevent: hello\ndata:\n\nevent: message\n" + PLAIN,
        HELLO.text,
    ),
    "i: a tag of thought that is never closed": ("openai", openai_stream(UNCLOSED), UNCLOSED.text),
    "k: a whole answer that calls itself a stream": (
        "openai",
        orjson.dumps(openai_body(HELLO)),
        HELLO.text,
    ),
    "l: a comment in one piece with it": ("openai", b": ping\n" + PLAIN, HELLO.text),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("way", WAYS)
async def test_the_first_words_are_there(way: str, door: str) -> None:
    kind, body, text = WAYS[way]
    content_type = NDJSON if kind == "ollama" else "text/event-stream"
    for size in (None, 1):
        async with lab(kind, Play(body, content_type=content_type, chunk=size)) as (gateway, _):
            status, raw = await ask(gateway, door, question(door, "Hi", stream=True), stream=True)
        assert status == 200, raw
        told = read(door, raw, stream=True).text
        if way[0] == "d" and door == kind:
            # Relayed: the words stay where the upstream put them.
            assert b'"text":"first "' in raw
            told = "first " + told
        assert told == text


@pytest.mark.parametrize("door", DOORS)
async def test_b_who_was_kept_waiting_or_had_another_target_gets_the_first_words(door: str) -> None:
    late = play("openai", HELLO, True, before_s=0.3)
    async with ReplayServer(Play(status=500)) as broken, ReplayServer(late) as well:
        given = settings(
            providers={
                "lab": provider("openai", broken.url),
                "two": provider("openai", well.url),
            },
            routes={"auto": {"local": ["lab/m", "two/m"], "strong": ["lab/m", "two/m"]}},
            attempts={"per_target": 1, "commit_after_s": 0.1},
        )
        async with running(given) as gateway:
            body = question(door, "Hi", stream=True, model="auto")
            status, raw = await ask(gateway, door, body, stream=True, model="auto")
    assert status == 200
    assert read(door, raw, stream=True).text == HELLO.text


@pytest.mark.parametrize("door", DOORS)
async def test_j_nothing_begins_again_behind_words_that_were_told(door: str) -> None:
    async with (
        ReplayServer(Play(BEGUN, cut=len(BEGUN))) as broken,
        ReplayServer(play("openai", Said(("Another",)), True)) as well,
    ):
        given = settings(
            providers={
                "lab": provider("openai", broken.url),
                "two": provider("openai", well.url),
            },
            routes={"auto": {"local": ["lab/m", "two/m"], "strong": ["lab/m", "two/m"]}},
        )
        async with running(given) as gateway:
            body = question(door, "Hi", stream=True, model="auto")
            _, raw = await ask(gateway, door, body, stream=True, model="auto")
        assert well.received == []
    told = text_before_error(door, raw)
    assert told
    assert HELLO.text.startswith(told)
