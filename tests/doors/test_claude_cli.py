"""C07: the real Claude Code, as a process, with a home of its own and no way out but the gateway.

It is found on the PATH, or where CLAUDE_CLI says; `npm install @anthropic-ai/claude-code` has it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.doors.lab import lab
from tests.doors.upstreams import KINDS, Said, cut_short, play
from tests.replay.gateway import Running

CLAUDE = os.environ.get("CLAUDE_CLI") or shutil.which("claude")
LIMIT_S = 90.0
SAID = Said(pieces=("Good ", "day from ", "the gateway."))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CLAUDE is None,
        reason="Claude Code is not here: put `claude` on the PATH, or its path into CLAUDE_CLI; "
        "test_claude_code.py replays its calls without it",
    ),
]


async def printed(gateway: Running, home: Path) -> str:
    """What `claude -p` writes. Nothing of this machine's own settings reaches it."""
    process = await asyncio.create_subprocess_exec(
        str(CLAUDE),
        "-p",
        "say hi",
        "--model",
        "lab/m",
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": gateway.url,
            "ANTHROPIC_AUTH_TOKEN": "x",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, told = await asyncio.wait_for(process.communicate(), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (out + told).decode()
    return out.decode().strip()


@pytest.mark.parametrize("kind", KINDS)
async def test_c07_the_command_itself_prints_the_answer(kind: str, tmp_path: Path) -> None:
    async with lab(kind, play(kind, SAID, True)) as (gateway, upstream):
        assert await printed(gateway, tmp_path) == SAID.text
        assert upstream.received


async def test_c07_after_a_cut_stream_it_asks_for_the_whole(tmp_path: Path) -> None:
    broken = cut_short("openai")
    plays = (broken, play("openai", SAID, False))
    async with lab("openai", *plays, attempts={"per_target": 1}) as (gateway, upstream):
        assert SAID.text in await printed(gateway, tmp_path)
        assert [one.body.get("stream") for one in upstream.received][:2] == [True, None]
