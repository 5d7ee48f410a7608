"""Each code block of the documents is run, or says why it is not.

sh, console: run by bash against a gateway whose upstreams are played. python: run. toml: loaded as
settings, which that gateway then has. json: read; where a comment says whose body it is, sent
there.
text: what came out; not run. The address 127.0.0.1:8080 becomes the test's, $TOKEN is the admin's.
A block below `<!-- not run: reason -->` is listed and left alone.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gateway.settings_file import load
from tests.docs.blocks import DOCUMENTS, LANGUAGES, ROOT, Block, blocks_of, commands
from tests.docs.gateway_of_docs import Shell, shell_of
from tests.replay.gateway import ADMIN

BLOCKS = {path: blocks_of(path) for path in DOCUMENTS}
RUN = [path for path, blocks in BLOCKS.items() if any(one.mark != "not run" for one in blocks)]
VARIABLES = {
    name: "value-of-the-environment"
    for path in DOCUMENTS
    for name in re.findall(r"\$\{(\w+)\}", path.read_text(encoding="utf-8"))
}


def values_of(text: str) -> list[Any]:
    """One JSON value or several, one behind the other."""
    found, at = [], 0
    decoder = json.JSONDecoder()
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


def settings_of(blocks: list[Block], folder: Path) -> dict[str, Any]:
    """What the toml blocks of a document say, each held against the settings' own rules."""
    own: dict[str, Any] = {}
    for block in blocks:
        if block.language == "toml" and not block.mark:
            file = folder / "block.toml"
            file.write_text(block.text, encoding="utf-8")
            try:
                load(file, VARIABLES)
            except ValueError as fault:
                pytest.fail(f"{block.place}: {fault}")
            for section, values in tomllib.loads(block.text).items():
                own[section] = {**own.get(section, {}), **values}
    return own


async def run_shell(shell: Shell, block: Block, behind: str) -> None:
    pairs = [(block.text, behind)]
    if block.language == "console":
        pairs = list(commands(block.text))
        assert pairs, f"{block.place}: no command in it"
    for command, documented in pairs:
        try:
            out, statuses = await shell.run(command, documented)
        except (AssertionError, TimeoutError) as fault:
            pytest.fail(f"{block.place}: {fault}")
        told = {int(status) for status in re.findall(r"HTTP/1\.1 (\d{3})", documented)}
        for status in statuses:
            assert status in told or status < 400, f"{block.place}: {command}\n{status} {out}"
        assert told <= set(statuses) or not statuses, f"{block.place}: {statuses}, not {told}"


async def send_body(shell: Shell, block: Block) -> None:
    method, path = block.words.split()
    for body in values_of(block.text):
        async with shell.gateway.session.request(
            method, shell.gateway.url + path, json=body, headers=ADMIN
        ) as response:
            told = await response.text()
            assert response.status < 400, f"{block.place}: {response.status} {told}"


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.relative_to(ROOT).as_posix())
async def test_every_block_of_a_document_runs(path: Path, tmp_path: Path) -> None:
    blocks = BLOCKS[path]
    own = settings_of(blocks, tmp_path)
    async with shell_of(tmp_path, own) as shell:
        for block, after in zip(blocks, [*blocks[1:], None], strict=True):
            if block.mark == "not run":
                continue
            if block.language in ("sh", "console"):
                behind = after.text if after and after.language in ("json", "text") else ""
                await run_shell(shell, block, behind)
            elif block.language == "python":
                try:
                    await shell.python(block.text)
                except (AssertionError, TimeoutError) as fault:
                    pytest.fail(f"{block.place}: {fault}")
            elif block.language == "json":
                try:
                    values_of(block.text)
                except ValueError as fault:
                    pytest.fail(f"{block.place}: {fault}")
                if block.mark == "body of":
                    await send_body(shell, block)


def test_every_block_says_what_it_is() -> None:
    for blocks in BLOCKS.values():
        for block in blocks:
            assert block.language in LANGUAGES, f"{block.place}: {block.language!r}"


def test_what_is_not_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    counted: Counter[str] = Counter()
    lines = [""]
    for blocks in BLOCKS.values():
        for block in blocks:
            counted["not run" if block.mark == "not run" else block.language] += 1
            if block.mark == "not run":
                assert len(block.words) > 10, block.place
                lines.append(f"not run: {block.place}: {block.words}")
    lines.append(", ".join(f"{count} {name}" for name, count in sorted(counted.items())))
    with capsys.disabled():
        sys.stdout.write("\n".join(lines) + "\n")
    assert counted["sh"] + counted["console"] + counted["python"] > counted["not run"]
