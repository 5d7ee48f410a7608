"""Rows of the case table, by their id: odd bytes of an upstream, read at doors of other languages.

Each row goes whole, in single bytes and in pieces of seven. Rows that the relay passes on as well
are read at the upstream's own door too.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.doors.case_rows import OTHERS, ROWS, Row
from tests.doors.clients import Read, ask, question, read
from tests.doors.lab import lab
from tests.doors.upstreams import HELLO
from tests.replay.server import Play

CHUNKS = (None, 1, 7)
CASES = [
    pytest.param(row, door, id=f"{row.id}-{door}")
    for row in ROWS
    for door in (*OTHERS[row.kind], *((row.kind,) if row.own else ()))
]


async def told(row: Row, door: str, size: int | None) -> tuple[int, bytes]:
    knobs: dict[str, Any] = {"cut": row.cut, "clean": row.clean, "headers": dict(row.headers)}
    play = Play(row.body, content_type=row.content_type, chunk=size, **knobs)
    async with lab(row.kind, play, attempts={"per_target": 1}) as (gateway, _):
        body = question(door, "Hi", stream=True)
        if door == "gemini":
            body["generationConfig"] = {"thinkingConfig": {"includeThoughts": True}}
        return await ask(gateway, door, body, stream=True)


def text_before_error(door: str, raw: bytes) -> str:
    """The text of a stream that ends in an error, whose words are the last frame's."""
    pieces = []
    for line in raw.replace(b"\r\n", b"\n").split(b"\n"):
        data = line.removeprefix(b"data: ")
        if not data.startswith(b"{"):
            continue
        body = orjson.loads(data)
        if "choices" in body:
            pieces += [one["delta"].get("content") or "" for one in body["choices"]]
        elif door == "responses":
            pieces += [body["delta"]] if body["type"] == "response.output_text.delta" else []
        elif "delta" in body:
            pieces.append(body["delta"].get("text", ""))
        elif "message" in body and door == "ollama":
            pieces.append(body["message"]["content"])
        elif "candidates" in body:
            parts = body["candidates"][0]["content"].get("parts", ())
            pieces += [part.get("text", "") for part in parts]
    return "".join(pieces)


@pytest.mark.parametrize(("row", "door"), CASES)
async def test_a_row_of_the_table(row: Row, door: str) -> None:
    sizes = CHUNKS if len(row.body) < 100_000 else (None, 4097)
    for size in sizes:
        status, raw = await told(row, door, size)
        if row.error is not None:
            assert row.error.encode() in raw
            if status == 200:
                assert HELLO.text.startswith(text_before_error(door, raw))
                assert b"message_stop" not in raw
                assert b"response.completed" not in raw
                assert b'"finish_reason":"' not in raw
                assert b'"done":true' not in raw
            else:
                assert status >= 500
            continue
        assert status == 200, raw
        found: Read = read(door, raw, stream=True)
        assert found.text == row.said.text
        assert found.thoughts == "".join(row.said.thoughts)
        assert found.calls == [(call.name, call.arguments) for call in row.said.calls]
        assert found.finish == row.said.finish
        if row.usage:
            assert found.usage == row.said.usage
