"""Open-loop load from 50/s to well over what the gateway can do, and what comes of it.

    python -m bench.knee            # writes docs/faults.md
    python -m bench.knee --dry      # only says it

A request leaves by the clock, whoever is late. Up to the knee all are answered, and nearly all on
time; over it the gateway turns callers away with a 503 and a time to come back. Goodput is what is
answered with a 200. Behind each rate half of the knee is asked, until nobody is turned away and
answers are on time again: the recovery.
"""

import asyncio
import math
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import uvloop

from bench import command
from bench.client import Answer, Connection
from bench.machine import facts
from bench.procs import ROOT, Process, free_port, parse, python
from bench.timer import Timer

DOCUMENT = ROOT / "docs/faults.md"
BEGIN, END = "<!-- load: begin -->", "<!-- load: end -->"
RATES = (50, 100, 200, 400, 800, 1200, 1600, 2000, 2500, 3000, 3500, 4000, 5000, 6500, 8000)
SECONDS = 10.0
OVER = (1.5, 2.0, 3.0)
ON_TIME_MS = 100.0
"""The median up to the knee: a queue that grows shows in it, and a neighbour's moment does not."""
KEPT_UP = 0.97
"""Of a rate; who falls further behind has a queue."""
MOST = 16_000
"""Connections of the load: its open files and ports have an end. A request that finds all in use is
not sent, as the gateway still has those before it in hand."""
PATIENCE_S = 10.0
RECOVERY_S = 20.0
SETTINGS = """
[server]
port = {port}
[classifier]
url = "http://127.0.0.1:9"
[providers.lab]
kind = "openai"
base_url = "http://127.0.0.1:{upstream}/v1"
[routes.auto]
local = ["lab/oneshot"]
[store]
database = "sqlite:///ledger.db"
"""
BODY = orjson.dumps({"message": "How tall is the tower?", "model": "lab/oneshot", "stream": False})
REQUEST = (
    b"POST /complete HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


@dataclass
class Seen:
    """What came of one rate."""

    rate: float
    seconds: float
    good: list[float] = field(default_factory=list)
    """Latencies of the answers with 200, seconds since their moment."""
    shed: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    """What came of those who asked and got neither a 200 nor a 503 with Retry-After: how many, by
    why."""
    unsent: int = 0
    span: float = 0.0
    """Seconds until the last answer."""

    @property
    def goodput(self) -> float:
        return len(self.good) / max(self.seconds, self.span)

    @property
    def due(self) -> int:
        return round(self.rate * self.seconds)

    @property
    def well(self) -> bool:
        """Everybody was answered, most of them at once, and as quickly as they came."""
        quick = percentile(self.good, 0.5) <= ON_TIME_MS
        return len(self.good) == self.due and quick and self.goodput >= KEPT_UP * self.rate


def percentile(seconds: list[float], share: float) -> float:
    """Milliseconds."""
    if not seconds:
        return math.nan
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


class Open:
    """An open loop on one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._free: list[Connection] = []
        self._open = 0

    async def run(self, rate: float, seconds: float) -> Seen:
        seen, sent, running = Seen(rate, seconds), 0, 0
        count = seen.due
        began = time.perf_counter()
        ended = self._loop.create_future()

        def look() -> None:
            if sent == count and not running and not ended.done():
                ended.set_result(None)

        def asked(connection: Connection, moment: float) -> None:
            def done(answer: Answer) -> None:
                nonlocal running
                running -= 1
                late = time.perf_counter() - moment
                if answer.failure:
                    seen.lost[answer.failure] += 1
                elif answer.status == 200:
                    seen.good.append(late)
                elif answer.status == 503 and answer.again:
                    seen.shed.append(late)
                else:
                    seen.lost[f"status {answer.status}"] += 1
                if connection.is_open:
                    self._free.append(connection)
                look()

            connection.send(REQUEST, done)

        async def on_a_new_one(moment: float) -> None:
            nonlocal running
            try:
                async with asyncio.timeout(PATIENCE_S):
                    _, connection = await self._loop.create_connection(
                        Connection, "127.0.0.1", self._port
                    )
            except (OSError, TimeoutError) as fault:
                running -= 1
                seen.lost[f"no connection: {type(fault).__name__}"] += 1
                look()
                return
            self._open += 1
            asked(connection, moment)

        opening: set[asyncio.Task[None]] = set()

        def send() -> None:
            nonlocal sent, running
            while sent < count and (moment := began + sent / rate) <= time.perf_counter():
                sent += 1
                while self._free and not self._free[-1].is_open:
                    self._free.pop()
                    self._open -= 1
                if self._free:
                    running += 1
                    asked(self._free.pop(), moment)
                elif self._open + len(opening) >= MOST:
                    seen.unsent += 1
                else:
                    running += 1
                    task = self._loop.create_task(on_a_new_one(moment))
                    opening.add(task)
                    task.add_done_callback(opening.discard)
            if sent < count:
                timer.set(began + sent / rate - time.perf_counter())
            look()

        timer = Timer(self._loop, send)
        try:
            send()
            async with asyncio.timeout(seconds + 60):
                await ended
            seen.span = time.perf_counter() - began
        finally:
            timer.close()
        return seen

    def close(self) -> None:
        for connection in self._free:
            connection.close()


async def recovery(load: Open, rate: float) -> float:
    """Seconds until half a second goes by in which everybody is answered on time."""
    began = time.perf_counter()
    while time.perf_counter() - began < RECOVERY_S:
        at = time.perf_counter() - began
        if (await load.run(rate, 0.5)).well:
            return at
    return math.inf


async def measured(port: int, rates: tuple[float, ...], seconds: float) -> list[str]:
    load = Open(port)
    rows: list[tuple[Seen, float]] = []
    try:
        await load.run(200, 2)
        knee = None
        misses = 0
        for rate in rates:
            seen = await load.run(rate, seconds)
            rows.append((seen, math.nan))
            say(seen)
            if seen.well:
                knee, misses = seen, 0
            else:
                misses += 1
                await recovery(load, 50)
            # One slow moment of a shared machine is no knee.
            if misses == 2:
                break
        if knee is None:
            raise SystemExit("not even the lowest rate was answered on time")
        over: list[tuple[Seen, float]] = []
        for times in OVER:
            seen = await load.run(times * knee.rate, seconds)
            back = await recovery(load, knee.rate / 2)
            over.append((seen, back))
            say(seen)
    finally:
        load.close()
    worst = min(seen.goodput for seen, _ in over) / knee.goodput
    slowest = max(back for _, back in over)
    return [
        "| asked for /s | answered /s | turned away (503) | p50 ms | p99 ms | p99 ms of a 503 | "
        "asked, no answer | not asked | on time again after |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(row(seen, back) for seen, back in [*rows, *over]),
        "",
        f"The knee is at {knee.rate:,.0f} requests/s: up to there everybody is answered, half of "
        f"them within {ON_TIME_MS:.0f} ms. At {', '.join(f'{one:g}' for one in OVER)} times the "
        f"knee {worst:.0%} of its goodput, at worst, is still answered (wanted: 80 %); "
        f"afterwards, at half the knee, all is as before within {slowest:.1f} s.",
    ]


def row(seen: Seen, back: float) -> str:
    cells = (
        f"{seen.rate:,.0f}",
        f"{seen.goodput:,.0f}",
        f"{len(seen.shed) / seen.due:.1%}" if seen.shed else "–",
        f"{percentile(seen.good, 0.5):,.1f}",
        f"{percentile(seen.good, 0.99):,.1f}",
        f"{percentile(seen.shed, 0.99):,.0f}" if seen.shed else "–",
        f"{seen.lost.total():,}",
        f"{seen.unsent:,}" if seen.unsent else "–",
        "" if math.isnan(back) else f"{back:.1f} s",
    )
    return f"| {' | '.join(cells)} |"


def say(seen: Seen) -> None:
    sys.stderr.write(row(seen, math.nan) + "\n")
    for why, count in seen.lost.most_common():
        sys.stderr.write(f"    {count:,}: {why}\n")


def run(rates: tuple[float, ...], seconds: float, settings: str = "") -> list[str]:
    """The lines of the report. `settings` stand in [server], for trying others out."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft < hard else soft, hard))
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="pointsman-knee-") as name:
        folder, port = Path(name), free_port()
        upstream = Process(
            "upstream", python("bench.upstream"), core=cores[-1], log=folder / "up", talk=True
        )
        gateway = None
        try:
            there = int(str(parse(upstream.hear(20))["port"]))
            text = SETTINGS.format(port=port, upstream=there)
            text = text.replace("[server]\n", f"[server]\n{settings}\n")
            (folder / "gateway.toml").write_text(text)
            gateway = Process(
                "gateway",
                python("gateway", "--config", str(folder / "gateway.toml")),
                core=cores[0],
                log=Path(os.devnull),
                cwd=folder,
            )
            gateway.wait_for(f"http://127.0.0.1:{port}/readyz")
            os.sched_setaffinity(0, {cores[-1]})
            return uvloop.run(measured(port, rates, seconds))
        finally:
            os.sched_setaffinity(0, set(cores))
            if gateway is not None:
                gateway.stop()
            upstream.stop()


def write(lines: list[str]) -> None:
    before, found, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    assert found
    text = f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}" + rest.partition(END)[2]
    DOCUMENT.write_text(text, encoding="utf-8")


def main() -> None:
    parser = command.parser("python -m bench.knee", __doc__)
    parser.add_argument("--dry", action="store_true", help="does not write docs/faults.md")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each rate")
    parser.add_argument("--from", type=float, default=0, dest="least", help="lowest rate")
    parser.add_argument("--server", default="", help="settings for [server], as TOML")
    given = parser.parse_args()
    rates = tuple(rate for rate in RATES if rate >= given.least)
    head = [f"- {fact}" for fact in facts("", "bench.knee")]
    lines = [*head, "", *run(rates, given.seconds, given.server.replace(";", "\n"))]
    sys.stdout.write("\n".join(lines) + "\n")
    if not given.dry:
        write(lines)


if __name__ == "__main__":
    main()
