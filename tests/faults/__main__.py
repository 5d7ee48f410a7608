"""python -m tests.faults: runs the whole matrix and writes its table into docs/faults.md.

Exit code 1 when an outcome is not the true one; the document is written all the same, and says so.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

from tests.faults import document, matrix
from tests.faults.cases import FAULTS, Fault
from tests.faults.language import DOORS

COLUMNS: tuple[tuple[bool, matrix.Route], ...] = (
    (True, "alone"),
    (True, "fallback"),
    (True, "resume"),
    (True, "hedge"),
    (False, "alone"),
    (False, "fallback"),
    (False, "hedge"),
)
"""stream, and what stands behind the broken target."""
TITLES = ["fault", *(f"{'stream' if stream else 'one-shot'}, {route}" for stream, route in COLUMNS)]
HEAD = f"| {' | '.join(TITLES)} |\n{'|---' * len(TITLES)}|\n"


async def told(fault: Fault, counts: Counter[str]) -> str:
    """One row of the table. The doors agree, or each is named."""
    cells = []
    for stream, route in COLUMNS:
        if not matrix.applies(fault, stream=stream, route=route):
            cells.append("")
            continue
        words: dict[str, str] = {}
        for door in DOORS:
            try:
                word = await matrix.run(fault, door, stream=stream, route=route)
                counts["passed"] += 1
            except (AssertionError, TimeoutError) as failure:
                word = "**WRONG**"
                counts["wrong"] += 1
                case = f"{fault.name}, {door.name}, stream={stream}, {route}"
                sys.stderr.write(f"{case}: {failure!r}\n")
            words[door.name] = word
        same = set(words.values())
        cells.append(
            same.pop()
            if len(same) == 1
            else "; ".join(f"{name}: {word}" for name, word in words.items())
        )
    return f"| {fault.name} | {' | '.join(cells)} |\n"


async def main() -> int:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    rows = []
    for fault in FAULTS:
        rows.append(await told(fault, counts))
        sys.stdout.write(rows[-1])
        sys.stdout.flush()
    seconds = time.monotonic() - began
    summary = (
        f"{len(FAULTS)} faults, {counts.total()} cases at {len(DOORS)} doors: "
        f"{counts['passed']} with their one true outcome, {counts['wrong']} wrong. "
    )
    document.write("matrix", f"{summary.strip()}\n\n{HEAD}{''.join(rows)}".strip())
    sys.stdout.write(f"{summary}{seconds:.0f} s\n")
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
