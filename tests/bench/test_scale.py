"""docs/scale.md is worked out from its own costs: new costs cannot leave old sums behind."""

from __future__ import annotations

import math
import re
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", TEXT, flags=re.M))
CHUNKS, LASTS_S = 250, 5


def cost(row: str) -> float:
    """The first number of a row of the costs."""
    found = re.search(r"[\d,.]+", ROWS[row])
    assert found is not None
    return float(found[0].replace(",", ""))


REQUEST_US = cost("gateway, a request")
CHUNK_US = cost("gateway, a streamed chunk with 100 streams a process")
STREAM_KB = cost("gateway, an open stream")
CLASSIFIER_US = cost("classifier, a prompt of 400 characters")
PROCESS_MB = float(ROWS["gateway, a process at rest"].split(" to ")[1].split()[0])
CPU_MS = (REQUEST_US + CHUNKS * CHUNK_US) / 1000
BUSY = math.ceil(CPU_MS)
"""Cores at a thousand requests a second."""


def test_a_streamed_request_costs_what_its_chunks_cost() -> None:
    assert f"Of its {CPU_MS:.0f} ms of\nCPU the chunks are" in TEXT
    share = CHUNKS * CHUNK_US / 1000 / CPU_MS
    said = re.search(r"the chunks are (\d+) %", TEXT)
    assert said is not None
    assert abs(int(said[1]) / 100 - share) < 0.05


def test_a_thousand_a_second_needs_what_the_costs_say() -> None:
    assert f"| gateways | {BUSY} cores busy | {math.ceil(BUSY / 0.6)} cores:" in TEXT
    pods = math.ceil(BUSY / 0.6)
    each = 1000 * LASTS_S // pods
    assert f"{pods} pods of one worker, {each} streams each" in TEXT
    memory = pods * (PROCESS_MB / 1000 + each * STREAM_KB / 1e6)
    assert (
        f"| {pods} x ({PROCESS_MB:.0f} MB + {each} x {STREAM_KB:.0f} KB) | {memory:.1f} GB |"
        in TEXT
    )
    assert f"| classifier | {CLASSIFIER_US / 1000:.1f} core |" in TEXT


def test_a_million_a_second_is_a_thousand_times_that() -> None:
    pods = 1000 * math.ceil(BUSY / 0.6)
    assert f"| gateways | {1000 * BUSY:,} busy cores, {pods:,} pods |" in TEXT
    assert f"| classifier | {CLASSIFIER_US:.0f} cores |" in TEXT
    held = 1_000_000 * LASTS_S * STREAM_KB / 1e6
    assert f"| {1_000_000 * LASTS_S:,} open streams | {held:.0f} GB of memory in all" in TEXT
