"""The short way opens with the first piece that a caller is shown, and closes at the terminator."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
import pytest

from tests.faults.language import SSE, Anthropic, OpenAi
from tests.faults.upstream import END, Play, Step, chunk, opening, upstream
from tests.replay.gateway import openai_provider, running, settings

CLAUDE = Anthropic()
ENDS = (
    CLAUDE._event("content_block_stop", index=1),
    CLAUDE._event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": 2},
    ),
    CLAUDE.terminator,
)


def apart(*pieces: bytes) -> list[bytes | float | Step]:
    play: list[bytes | float | Step] = []
    for piece in pieces:
        play += (chunk(piece), 0.01)
    return play


def hidden_first() -> bytes:
    """A thought that only its vendor reads: an event, and nothing that POST /complete shows."""
    thought = {"type": "redacted_thinking", "data": "xyz"}
    return (
        CLAUDE._event("message_start", message=CLAUDE._message([], None, 1))
        + CLAUDE._event("content_block_start", index=0, content_block=thought)
        + CLAUDE._event("content_block_stop", index=0)
    )


def text(word: str) -> bytes:
    return CLAUDE._event("content_block_delta", index=1, delta={"type": "text_delta", "text": word})


def opened() -> bytes:
    block = {"type": "text", "text": ""}
    return CLAUDE._event("content_block_start", index=1, content_block=block)


async def words(plays: dict[str, tuple[str, Play]], **tree: Any) -> tuple[list[str], bytes]:
    """The text of each event of POST /complete over a route of these upstreams, in its order."""
    names = [f"{name}/m" for name in plays]
    (one, (kind, first)), (two, (other, second)) = plays.items()
    # Gemini's callers ask for a stream by its path.
    async with upstream(first, first) as up, upstream(second, second) as up2:
        providers = {
            name: openai_provider(at.url) | {"api_key": "k"}
            if spoken == "openai"
            else {"kind": spoken, "base_url": at.url, "api_key": "k"}
            for name, spoken, at in ((one, kind, up), (two, other, up2))
        }
        route = {"local": names, "strong": names} | tree.pop("route", {})
        given = settings(providers=providers, routes={"auto": route}, **tree)
        async with (
            running(given) as gateway,
            asyncio.timeout(10),
            gateway.session.post(
                gateway.url + "/complete", json={"message": "Hi", "stream": True}
            ) as response,
        ):
            raw = await response.read()
    return [word.decode() for word in re.findall(rb'"message":"([^"]+)"', raw)], raw


async def test_who_breaks_off_after_he_was_shown_is_not_followed_by_another() -> None:
    broken = [
        0.4,
        opening(SSE),
        *apart(hidden_first(), opened(), *(text(f"one{n} ") for n in range(5)), CLAUDE.error()),
        END,
    ]
    second = OpenAi()
    healthy = [
        opening(SSE),
        *apart(
            second.start(),
            *(second.text(f"two{n} ") for n in range(5)),
            second.finish() + second.terminator,
        ),
        END,
    ]
    # The headers are out with the keep-alives before anybody said anything.
    found, raw = await words(
        {"lab": ("anthropic", broken), "two": ("openai", healthy)},
        attempts={"commit_after_s": 0.1},
    )
    assert b": keepalive" in raw
    assert found == [*(f"one{n} " for n in range(5)), "overloaded"]
    assert b'"error"' in raw


async def test_of_two_who_are_asked_beside_each_other_only_one_is_heard() -> None:
    def play(word: str) -> Play:
        said = [chunk(text(f"{word}{n} ")) for n in range(8)]
        return [
            0.1,
            opening(SSE),
            *apart(hidden_first()),
            0.3,
            chunk(opened()),
            *(step for piece in said for step in (piece, 0.03)),
            *apart(*ENDS),
            END,
        ]

    found, _ = await words(
        {"lab": ("anthropic", play("one")), "two": ("anthropic", play("two"))},
        attempts={"commit_after_s": 0.05, "hedge_share": 1.0},
        route={"hedge_after_ms": 50},
    )
    assert found in ([f"{word}{n} " for n in range(8)] for word in ("one", "two"))


@pytest.mark.parametrize("late", ["text", "error", "garbage"])
async def test_what_comes_behind_the_terminator_is_nobodys(late: str) -> None:
    def said(word: str, **more: str) -> bytes:
        content = {"parts": [{"text": word}], "role": "model"}
        return b"data: " + orjson.dumps({"candidates": [{"content": content, **more}]}) + b"\n\n"

    behind = {
        "text": said("behind "),
        "error": b'data: {"error":{"code":500,"message":"late"}}\n\n',
        "garbage": b"data: <bye>\n\n",
    }[late]
    play: Play = [
        opening(SSE),
        *apart(
            *(said(f"mark{n} ") for n in range(5)),
            said("last ", finishReason="STOP"),
            b"data: [DONE]\n\n",
        ),
        0.03,
        chunk(behind),
        0.03,
        END,
    ]
    found, raw = await words({"lab": ("gemini", play), "two": ("gemini", play)})
    assert found == [*(f"mark{n} " for n in range(5)), "last "]
    assert b'"error"' not in raw
