"""What is written while the upstream is silent, and a reader that is easily led astray by it."""

from __future__ import annotations

import re

import orjson
import pytest

from tests.doors.clients import DOORS, ask, question, read
from tests.doors.lab import lab
from tests.doors.upstreams import HELLO, KINDS, play

EARLY = {"commit_after_s": 0.1}
ALLOWED = {
    # Comments without a blank line: one that ends an event would be an empty event to some.
    "openai": rb"(: keepalive\n)*data: \{",
    "responses": rb"(: keepalive\n)*event: response\.created\ndata: \{",
    "anthropic": rb'(event: ping\ndata: \{"type": "ping"\}\n\n)*event: message_start\n',
    "gemini": rb"(\r\n)*data: \{",
    "ollama": rb'(\{"model":"lab/m",[^\n]*"content":""\},"done":false\}\n)*\{',
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
async def test_only_what_every_client_passes_over_is_written(door: str, kind: str) -> None:
    async with lab(kind, play(kind, HELLO, True, before_s=0.3), attempts=EARLY) as (gateway, _):
        status, raw = await ask(gateway, door, question(door, "Hi", stream=True), stream=True)
    assert status == 200
    assert re.match(ALLOWED[door], raw), raw[:300]
    assert read(door, raw, stream=True).text == HELLO.text


def continues_reader(raw: bytes, size: int) -> str:
    """Continue's streamSse: it cuts its buffer at line ends, and takes a line that begins with
    `: ping` for the end of all that it holds (PROTOCOLS 7.4)."""
    text, buffer = "", ""
    for start in range(0, len(raw), size):
        buffer += raw[start : start + size].decode("ascii")
        while (end := buffer.find("\n")) >= 0:
            line, buffer = buffer[:end], buffer[end + 1 :]
            if line.startswith(": ping"):
                buffer = ""
            elif line.startswith("data:") and "[DONE]" not in line:
                for choice in orjson.loads(line[5:])["choices"]:
                    text += choice["delta"].get("content") or ""
    return text


@pytest.mark.parametrize("size", [7, 64, 100_000])
async def test_continue_loses_nothing_to_a_keep_alive_in_the_same_piece(size: int) -> None:
    plays = play("anthropic", HELLO, True, before_s=0.3)
    async with lab("anthropic", plays, attempts=EARLY) as (gateway, _):
        _, raw = await ask(gateway, "openai", question("openai", "Hi", stream=True), stream=True)
    assert raw.startswith(b": keepalive\n")
    assert continues_reader(raw, size) == HELLO.text
