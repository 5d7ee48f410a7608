"""What is measured of every row, and the rounds in which it is."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import orjson

from bench import procs
from bench.job import Seen
from bench.measure import Figure, Phase, cores, run_job, upstream
from bench.peers.starts import PEERS
from bench.procs import FailedError
from bench.subjects import AbsentError, Row, Stage, Subject

RATES = {50: 12.0, 100: 3.0, 200: 2.0, 350: 1.5, 500: 1.2}
"""Requests a second -> seconds of it: 300 requests at least. The slowest has 600, as its p99 is a
promise of ours."""
PROMPTS = {"1 KB": 1_000, "10 KB": 10_000, "100 KB": 100_000}
CALLERS = (1, 16, 64)
HOLDS = 0.9
"""An open loop faster than this share of a row's own saturation is not tried: it cannot hold it."""
CALM_S = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    rounds: int
    phases: tuple[Phase, ...]
    memory_requests: int
    subjects: tuple[str, ...] = tuple(PEERS)


@dataclass(frozen=True)
class Memory:
    """Bytes, resident, of a row's whole process tree."""

    idle: int
    after: int
    peak: int
    requests: int


@dataclass
class Results:
    plan: Plan
    done: int = 0
    """Rounds that are whole; `measure` goes on behind them."""
    figures: list[Figure] = field(default_factory=list)
    starts_s: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    cannot: dict[str, list[str]] = field(default_factory=dict)
    """Row -> phases that it did not get through, each with a word."""
    notes: list[str] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    """Subjects whose memory was measured, or could not be."""

    def as_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, text: bytes) -> "Results":
        """What `as_json` wrote, without the round that was not whole."""
        told = orjson.loads(text)
        asked = told["plan"]
        phases = tuple(Phase(**phase) for phase in asked["phases"])
        told["plan"] = Plan(**{**asked, "phases": phases, "subjects": tuple(asked["subjects"])})
        told["figures"] = [
            Figure(**{**one, "seen": Seen(**one["seen"])})
            for one in told["figures"]
            if one["round"] < told["done"]
        ]
        told["memory"] = {row: Memory(**one) for row, one in told["memory"].items()}
        return cls(**told)


Keep = Callable[[Results], None]


def plan(quick: bool, subjects: tuple[str, ...], rounds: int) -> Plan:
    """`quick` is long enough for CPU figures, which survive a busy machine, and for no others."""
    part = 0.2 if quick else 1.0

    def count(full: int, least: int = 40) -> int:
        return max(least, round(full * part))

    phases = [
        Phase(f"callers {callers}", "oneshot", count(full), callers, warmup=500)
        for callers, full in zip(CALLERS, (1500, 5000, 5000), strict=True)
    ]
    phases += [
        Phase(f"prompt {name}", "oneshot", count(full), 16, warmup=20, prompt_chars=size)
        for (name, size), full in zip(PROMPTS.items(), (3000, 2000, 800), strict=True)
    ]
    rates = {50: 2.0, 200: 1.0} if quick else RATES
    phases += [
        Phase(f"rate {rate}", "oneshot", round(rate * seconds), 4, rate=rate, warmup=20)
        for rate, seconds in rates.items()
    ]
    streams = "chunks-64-20ms" if quick else "chunks-250-20ms"
    phases += [
        Phase("first", "chunks-16-10ms", count(120), 4, stream=True, rate=20, warmup=8),
        Phase("streams", streams, 100, 100, stream=True, ramp_s=1.0),
        Phase("burst", "burst-512", count(200), 4, stream=True, warmup=8),
    ]
    memory = 1_000 if quick else 10_000
    return Plan(1 if quick else rounds, tuple(phases), memory, subjects)


def measure(results: Results, say: Say, keep: Keep, limit_s: float) -> None:
    """Run what of the plan is not there yet. Processes are stopped however it ends.

    `keep` is called with each memory and each whole round. A round that `limit_s` leaves no time
    for is not begun, and the remarks say so.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="peers-")))
        port = stack.enter_context(upstream(folder))
        for name in results.plan.subjects:
            if name not in results.looked_at:
                _memory(name, port, folder, results, say)
                results.looked_at.append(name)
                keep(results)
        longest = 0.0
        while results.done < results.plan.rounds:
            start = time.monotonic()
            if start - began + longest > limit_s:
                results.notes.append(
                    f"{results.done} rounds of {results.plan.rounds}: there was no time for more."
                )
                return
            _round(results.done, port, folder, results, say)
            longest = max(longest, time.monotonic() - start)
            results.done += 1
            keep(results)


def _start(name: str, port: int, folder: Path, results: Results) -> Subject | None:
    try:
        return PEERS[name](Stage(Path(mkdtemp(dir=folder, prefix=name)), port, cores()[0]))
    except (AbsentError, FailedError) as missing:
        note = f"`{name}` left out: {missing}"
        if note not in results.notes:
            results.notes.append(note)
        return None


def _round(number: int, port: int, folder: Path, results: Results, say: Say) -> None:
    """All start; then phase by phase through all rows, beginning with another each time."""
    with ExitStack() as stack:
        rows: list[Row] = []
        for name in results.plan.subjects:
            say(f"round {number + 1}/{results.plan.rounds}: {name} starts")
            subject = _start(name, port, folder, results)
            if subject is None:
                continue
            stack.callback(subject.stop)
            results.notes += [note for note in subject.notes if note not in results.notes]
            rows += subject.rows
            if subject.start_s is not None:
                results.starts_s.setdefault(subject.rows[0].name, []).append(subject.start_s)
        for at, phase in enumerate(results.plan.phases):
            turn = (number + at) % len(rows) if rows else 0
            for row in rows[turn:] + rows[:turn]:
                if row.streams or not phase.stream:
                    _phase(number, at, phase, row, folder, results, say)


def _phase(
    number: int, at: int, phase: Phase, row: Row, folder: Path, results: Results, say: Say
) -> None:
    most = saturated(results, row.name)
    if phase.rate and not phase.stream and most and phase.rate > HOLDS * most:
        _cannot(results, row, phase, f"{most:.0f}/s is its most")
        return
    say(f"round {number + 1}/{results.plan.rounds}: {phase.name}, {row.name}")
    # One seed a round: each row gets the same prompts, each round gets others.
    job = phase.job(row, seed=1000 * (number + 1) + at)
    try:
        seen, cpu_s = run_job(job, row.roots, folder)
    except FailedError as wrong:
        say(f"{phase.name} through {row.name}: {wrong}")
        _cannot(results, row, phase, str(wrong)[:200])
        _calm_down(row)
        return
    results.figures.append(Figure(number, row.name, phase.name, cpu_s, seen))


def saturated(results: Results, row: str) -> float:
    """The most requests a second that a closed loop brought through a row so far."""
    rates = [
        figure.seen.requests / figure.seen.wall_s
        for figure in results.figures
        if figure.row == row and figure.phase.startswith("callers ")
    ]
    return max(rates, default=0.0)


def _cannot(results: Results, row: Row, phase: Phase, why: str) -> None:
    said = results.cannot.setdefault(row.name, [])
    if not any(one.startswith(f"{phase.name}:") for one in said):
        said.append(f"{phase.name}: {why}")


def _calm_down(row: Row) -> None:
    """What it has not finished of a lost phase must not be in the next one's figures."""
    deadline = time.monotonic() + CALM_S
    while row.roots and time.monotonic() < deadline:
        before = procs.cpu_seconds(*row.roots)
        time.sleep(0.5)
        if procs.cpu_seconds(*row.roots) - before < 0.05:
            return


def _memory(name: str, port: int, folder: Path, results: Results, say: Say) -> None:
    """A fresh subject: its memory at rest, after many requests, and at its most."""
    subject = _start(name, port, folder, results)
    if subject is None:
        return
    try:
        row = subject.rows[0]
        if not row.roots:
            return
        time.sleep(1.0)
        idle = procs.rss_bytes(*row.roots)
        # All get the same number, also the slow ones.
        count = round(results.plan.memory_requests / row.weight)
        say(f"memory: {results.plan.memory_requests} requests, {row.name}")
        phase = Phase("memory", "oneshot", requests=count, callers=16)
        job = phase.job(row, seed=90_000)
        try:
            run_job(job, row.roots, folder)
        except FailedError as wrong:
            _cannot(results, row, phase, str(wrong)[:200])
            return
        results.memory[row.name] = Memory(
            idle,
            procs.rss_bytes(*row.roots),
            procs.peak_bytes(*row.roots),
            results.plan.memory_requests,
        )
    finally:
        subject.stop()
