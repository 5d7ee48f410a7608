"""python -m tests.soak [N] [--write]: N requests at mixed faults (one million when it is not
said), and a look at what is left behind.

The gateway is a process with a ledger on SQLite; its upstream and its callers are others. Memory,
open files and tasks are looked at on the way and at the end; the callers', the gateway's, the
upstream's and the ledger's counts must be the same. Exit code 1 when something is not.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.machine import facts
from bench.procs import Process, free_port, parse, python
from tests.faults.document import write
from tests.faults.seen import files, ledger, ready, resident, sample, scraped, summed
from tests.soak.callers import MIX, Callers

MILLION = 1_000_000
CALLERS = 24
POOL = 12
"""Files of connections to the database that may be opened on the way: a pool, not one a request."""
LOOKS = 400
FULL_S = 600.0
"""For so long the live page's history grows, which is kept for ten minutes."""
FLAT = 2.0
"""Bytes a request by which a long run may grow: two megabytes of a million."""
LONG = 200_000
"""Requests; in fewer a single page more is a slope."""
SETTINGS = """
[server]
port = {port}
max_lag_ms = 60000
[log]
folder = "logs"
[classifier]
url = "http://127.0.0.1:9"
[providers.lab]
kind = "openai"
base_url = "http://127.0.0.1:{upstream}/v1"
[routes.auto]
local = ["lab/good"]
[routes.then]
local = ["lab/broken", "lab/good"]
[attempts]
backoff_ms = 0
retry_share = 10
[cooldown]
failures = 1000000000
[store]
database = "sqlite:///ledger.db"
"""
BROKEN = ("broken", "empty", "cut", "garbage")


@dataclass(frozen=True)
class Look:
    at: float
    """Monotonic seconds."""
    done: int
    resident: int
    files: int


def slope(looks: list[Look]) -> tuple[float, float]:
    """Bytes a request, and the standard error: the line that fits best (least squares)."""
    if len(looks) < 3:
        return 0.0, math.inf
    count = len(looks)
    mean_x = sum(one.done for one in looks) / count
    mean_y = sum(one.resident for one in looks) / count
    over = sum((one.done - mean_x) * (one.resident - mean_y) for one in looks)
    spread = sum((one.done - mean_x) ** 2 for one in looks)
    each = over / spread
    left = sum((one.resident - mean_y - each * (one.done - mean_x)) ** 2 for one in looks)
    return each, math.sqrt(left / (count - 2) / spread)


def settled_in(looks: list[Look], began: float) -> list[Look]:
    """Those after the first third, in which caches and pools fill, and after `FULL_S` where the
    run is long enough to have a third behind it."""
    total = looks[-1].done
    late = [one for one in looks if one.done > total // 3]
    later = [one for one in late if one.at - began > FULL_S]
    return later if later and total - later[0].done > total // 3 else late


async def seen_by_upstream(port: int) -> dict[str, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /seen HTTP/1.1\r\nConnection: close\r\n\r\n")
    raw = await reader.read()
    writer.close()
    return {name: int(str(count)) for name, count in parse(raw.partition(b"\r\n\r\n")[2]).items()}


async def tasks(gateway: Process, folder: Path) -> int:
    told = folder / "tasks"
    told.unlink(missing_ok=True)
    os.kill(gateway.pid, signal.SIGUSR1)
    async with asyncio.timeout(10):
        while not told.exists() or not told.read_text():
            await asyncio.sleep(0.05)
    return int(told.read_text())


async def run(total: int, folder: Path) -> tuple[list[str], list[str]]:
    """What is told in the document, and what is wrong."""
    cores = sorted(os.sched_getaffinity(0))
    upstream = Process(
        "upstream", python("tests.soak.upstream"), core=cores[-1], log=folder / "up.log", talk=True
    )
    port = free_port()
    gateway = None
    try:
        there = int(str(parse(upstream.hear(20))["port"]))
        config = folder / "gateway.toml"
        config.write_text(SETTINGS.format(port=port, upstream=there))
        gateway = Process(
            "gateway",
            python("tests.soak.watched", "--config", str(config)),
            core=cores[0],
            log=Path(os.devnull),
            cwd=folder,
            env={"TASKS_FILE": str(folder / "tasks")},
        )
        url = f"http://127.0.0.1:{port}"
        gateway.wait_for(url + "/readyz")
        return await watched(total, gateway, folder, url, there)
    finally:
        if gateway is not None:
            gateway.stop()
        upstream.stop()


async def watched(
    total: int, gateway: Process, folder: Path, url: str, there: int
) -> tuple[list[str], list[str]]:
    looks: list[Look] = []
    every = max(1, total // LOOKS)

    def each(done: int) -> None:
        if done % every == 0:
            now = time.monotonic()
            looks.append(Look(now, done, resident(gateway.pid), files(gateway.pid)))

    here = int(url.rpartition(":")[2])
    first = Callers(here, CALLERS, total // 10, lambda done: None)
    began = time.monotonic()
    await first.run()
    await asyncio.sleep(2)
    before_kept = (await seen_by_upstream(there))["open"]
    before_files, before_tasks = files(gateway.pid), await tasks(gateway, folder)
    callers = Callers(here, CALLERS, total - total // 10, each)
    await callers.run()
    took = time.monotonic() - began - 2
    asked = first.asked + callers.asked

    async with asyncio.timeout(60):
        while (
            await sample(url, "pointsman_in_flight")
            or await sample(url, "pointsman_ledger_waiting")
            or await sample(url, "pointsman_requests_total") < total
        ):
            await asyncio.sleep(0.2)
    # A few connections to the upstream are kept for the next request.
    for _ in range(40):
        await asyncio.sleep(0.5)
        seen = await seen_by_upstream(there)
        kept, after_files = seen.pop("open"), files(gateway.pid)
        if after_files - kept <= before_files - before_kept + POOL:
            break
    after_tasks, text = await tasks(gateway, folder), await scraped(url)
    rows = ledger(folder / "ledger.db")
    settled = {
        outcome: int(summed(text, "pointsman_requests_total", outcome=outcome))
        for outcome in ("finished", "failed", "cancelled")
    }
    attempts = {
        outcome: int(summed(text, "pointsman_attempts_total", outcome=outcome))
        for outcome in ("finished", "upstream_error", "bad_request", "cancelled")
    }
    saw = {
        "finished": seen["good"],
        "upstream_error": sum(seen[kind] for kind in BROKEN),
        "bad_request": seen["wrong"],
        "cancelled": seen["endless"],
    }
    in_ledger = {
        "finished": saw["finished"],
        "failed": saw["upstream_error"] + saw["bad_request"],
        "cancelled": saw["cancelled"],
    }
    late = settled_in(looks, began)
    growth, error = slope(late)
    grown = (late[-1].resident - late[0].resident) / 2**20
    checks = {
        "requests": (dict(asked), settled),
        "attempts": (saw, attempts),
        "attempts in all": (
            sum(seen.values()),
            int(summed(text, "pointsman_attempts_total")),
        ),
        "rows of the ledger": (in_ledger, rows),
        "warnings": ([], (await ready(url))["warnings"]),
        "tasks left": (before_tasks, min(after_tasks, before_tasks)),
        "files left, beside the kept connections": (
            True,
            after_files - kept <= before_files - before_kept + POOL,
        ),
        "memory stays": (True, growth < FLAT if total >= LONG else grown < 16),
    }
    wrong = [
        f"{name}: {expected} expected, {got} found"
        for name, (expected, got) in checks.items()
        if expected != got
    ]
    faults = sum(weight for model, _, weight in MIX if model != "good")
    told = [
        f"{total:,} requests, {faults} % of them at a fault, by {CALLERS} callers in "
        f"{took:,.0f} s ({total / took:,.0f}/s)."
        + ("" if total >= MILLION else " `make soak` makes a million; this run was shorter."),
        "",
        "| | callers / upstream | gateway | the same |",
        "|---|---|---|---|",
        *(
            f"| {name} | {_words(expected)} | {_words(got)} | "
            f"{'yes' if expected == got else '**no**'} |"
            for name, (expected, got) in list(checks.items())[:4]
        ),
        "",
        "| | after a tenth | at the end, everybody gone |",
        "|---|---|---|",
        "| open files of the gateway, of them connections kept to the upstream "
        f"| {before_files}, {before_kept} | {after_files}, {kept} |",
        f"| tasks | {before_tasks} | {after_tasks} |",
        f"| resident memory | {late[0].resident / 2**20:.1f} MB after {late[0].done:,} requests | "
        f"{late[-1].resident / 2**20:.1f} MB: {growth:+.2f} ± {error:.2f} bytes a request (least "
        f"squares over {len(late)} looks, and its standard error) |",
    ]
    return told, wrong


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count:,}" for name, count in sorted(value.items()))
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("requests", type=int, nargs="?", default=MILLION)
    parser.add_argument("--dry", action="store_true", help="does not write docs/faults.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pointsman-soak-") as folder:
        told, wrong = uvloop.run(run(given.requests, Path(folder)))
    lines = [
        *(f"- {fact}" for fact in facts(f" {given.requests}", "tests.soak")),
        "",
        *told,
        "",
        *(f"**WRONG**: {one}" for one in wrong),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    if not given.dry:
        write("soak", "\n".join(lines).rstrip())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
