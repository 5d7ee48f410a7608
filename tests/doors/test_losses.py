"""What docs/dialects.md says of knobs is so: what each upstream hears of them, and what not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.doors.clients import ask, question
from tests.doors.lab import PARAMETERS, lab
from tests.doors.upstreams import HELLO, KINDS, play

DOCUMENT = Path(__file__).parents[2] / "docs/dialects.md"
COLUMNS = {kind: number for number, kind in enumerate(KINDS, start=1)}

KNOBS: dict[str, tuple[str, Any]] = {
    # Row of the document: field and value of an OpenAI caller.
    "`temperature`": ("temperature", 0.5),
    "`top_k`": ("top_k", 7),
    "`min_p`": ("min_p", 0.25),
    "`seed`": ("seed", 1234),
    "`presence_penalty`, `frequency_penalty`": ("presence_penalty", 0.375),
    "`max_tokens`": ("max_tokens", 321),
    "`stop`": ("stop", ["ENDING"]),
    "`user`": ("user", "ann-the-user"),
    "`parallel_tool_calls: false`": ("parallel_tool_calls", False),
}
WIRE = {
    "parallel_tool_calls": ("parallel_tool_calls", "disable_parallel_tool_use"),
    "top_k": ("top_k", "topK"),
    "min_p": ("min_p", "minP"),
}


def rows() -> dict[str, list[str]]:
    """Row -> its cells, of the table of questions."""
    found = {}
    table = DOCUMENT.read_text(encoding="utf-8").partition("| in the question |")[2]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 5:
            found[cells[0]] = cells
    return found


def holds(body: Any, field: str, value: Any) -> bool:
    """Whether the value stands anywhere in the body, or the field, for a flag."""
    if isinstance(value, bool):
        return any(name in str(body) for name in WIRE[field])
    if field in WIRE:
        return any(f"'{name}': {value}" in str(body) for name in WIRE[field])
    return str(value if not isinstance(value, list) else value[0]) in str(body)


@pytest.mark.parametrize("row", KNOBS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_knob_is_heard_where_the_document_says_so(kind: str, row: str) -> None:
    field, value = KNOBS[row]
    body = question("ollama" if kind == "openai" else "openai", "Hi", stream=False)
    door = "openai"
    tool = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
    if kind == "openai":
        # From another language, since between two of one nothing is translated.
        door = {"user": "anthropic", "parallel_tool_calls": "anthropic"}.get(field, "ollama")
        body = question(door, "Hi", stream=False)
        if door == "ollama":
            body["options"] = {"num_predict" if field == "max_tokens" else field: value}
        elif field == "user":
            body["metadata"] = {"user_id": value}
        else:
            body["tools"] = [{"name": "weather", "input_schema": PARAMETERS}]
            body["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    else:
        body |= {field: value, "tools": [tool]}
    async with lab(kind, play(kind, HELLO, False)) as (gateway, upstream):
        status, raw = await ask(gateway, door, body, stream=False)
        assert status == 200, raw
        left_out = rows()[row][COLUMNS[kind]].startswith("-")
        assert holds(upstream.received[0].body, field, value) is not left_out
