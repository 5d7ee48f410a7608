"""The rounds: every subject side by side, each figure taken within seconds of its neighbours'."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import orjson

from bench import procs
from bench.job import Job, Seen
from bench.procs import FailedError, Process, python
from bench.prompts import LENGTH
from bench.script import plan_of
from bench.subjects import SUBJECTS, AbsentError, Row, Stage, Subject


@dataclass(frozen=True)
class Phase:
    """One kind of load."""

    name: str
    script: str
    requests: int
    callers: int
    stream: bool = False
    rate: float = 0.0
    ramp_s: float = 0.0
    warmup: int = 0
    prompt_chars: int = LENGTH

    def job(self, row: Row, seed: int) -> Job:
        plan = plan_of(self.script)
        assert plan is not None
        # An open loop with fewer requests is shorter, and fewer streams than callers are not as
        # many at once: those are the same for all.
        weight = 1.0 if self.rate or self.requests <= self.callers else row.weight
        return Job(
            port=row.port,
            door=row.door,
            model=row.model(self.script),
            chunks=plan[0],
            requests=max(1, round(self.requests * weight)),
            stream=self.stream,
            callers=self.callers,
            rate=self.rate,
            ramp_s=self.ramp_s,
            warmup=max(1, round(self.warmup * weight)) if self.warmup else 0,
            seed=seed,
            timeout_s=60 + self.requests / 200,
            prompt_chars=self.prompt_chars,
            path=row.path,
            headers=row.headers,
        )


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    phases: tuple[Phase, ...]
    rounds: int
    memory_first: int
    """Requests before memory is read for the first time; 0 leaves memory out."""
    memory_then: int
    subjects: tuple[str, ...] = tuple(SUBJECTS)


@dataclass(frozen=True)
class Figure:
    """One run of one phase through one row."""

    round: int
    row: str
    phase: str
    cpu_s: float | None
    """CPU of the subject's tree; None for `direct`, which has none."""
    seen: Seen


@dataclass
class Results:
    """All that was measured."""

    plan: Plan
    figures: list[Figure] = field(default_factory=list)
    starts_s: dict[str, list[float]] = field(default_factory=dict)
    """Subject to its starts, one a round."""
    memory_bytes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Row to its resident memory after `memory_first` requests, and after `memory_then` more."""
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)


def phases(quick: bool) -> tuple[Phase, ...]:
    """The four loads; `quick` is too short for figures and long enough to see them all work."""
    if quick:
        return (
            Phase("saturated", "oneshot", requests=800, callers=16, warmup=100),
            Phase("open", "oneshot", requests=75, callers=4, rate=50, warmup=8),
            Phase("streams", "chunks-64-10ms", requests=100, callers=100, stream=True, ramp_s=0.2),
            Phase("burst", "burst-512", requests=40, callers=4, stream=True, warmup=4),
        )
    return (
        Phase("saturated", "oneshot", requests=5000, callers=16, warmup=500),
        Phase("open", "oneshot", requests=300, callers=4, rate=50, warmup=20),
        Phase("streams", "chunks-250-20ms", requests=100, callers=100, stream=True, ramp_s=1.0),
        Phase("burst", "burst-512", requests=300, callers=4, stream=True, warmup=20),
    )


def cores() -> tuple[int | None, int | None]:
    """The core of the subjects and that of upstream and load; None where there is but one."""
    mine = sorted(os.sched_getaffinity(0))
    return (mine[0], mine[1]) if len(mine) > 1 else (None, None)


def measure(plan: Plan, say: Callable[[str], None]) -> Results:
    """Run the whole plan. Processes are stopped however it ends."""
    results = Results(plan)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
        port = stack.enter_context(upstream(folder))
        for number in range(plan.rounds):
            _round(number, port, folder, results, say)
        if plan.memory_first:
            for name in plan.subjects:
                _memory(name, port, folder, results, say)
    return results


def run_job(job: Job, roots: tuple[int, ...], folder: Path) -> tuple[Seen, float | None]:
    """Let a load generator do one job; what it saw and the CPU of `roots` meanwhile.

    Raises FailedError when an answer was wrong or nothing ended in time.
    """
    load = Process(
        "load", python("bench.load"), core=cores()[1], log=folder / "load.log", talk=True
    )
    try:
        load.say(orjson.dumps(asdict(job)))
        _expect(load.hear(job.timeout_s + 10), "ready")
        before = procs.cpu_seconds(*roots)
        load.say(b"go")
        line = load.hear(job.timeout_s + 10)
        after = procs.cpu_seconds(*roots)
        seen = _expect(line, "seen")
        assert isinstance(seen, dict)
        return Seen(**seen), (after - before if roots else None)
    finally:
        load.stop()


def _expect(line: bytes, key: str) -> object:
    said = procs.parse(line)
    if key not in said:
        raise FailedError(str(said.get("failure", said)))
    return said[key]


@contextmanager
def upstream(folder: Path) -> Iterator[int]:
    """The cheap upstream, beside the load; its port."""
    process = Process(
        "upstream", python("bench.upstream"), core=cores()[1], log=folder / "up.log", talk=True
    )
    try:
        port = procs.parse(process.hear(30))["port"]
        assert isinstance(port, int)
        yield port
    finally:
        process.stop()


@contextmanager
def _started(name: str, port: int, folder: Path, notes: list[str]) -> Iterator[Subject | None]:
    """One subject, or None with a note when it is not to be had here."""
    try:
        own = Path(mkdtemp(dir=folder, prefix=name))
        subject = SUBJECTS[name](Stage(own, port, cores()[0]))
    except AbsentError as missing:
        _note(notes, str(missing))
        yield None
        return
    try:
        for note in subject.notes:
            _note(notes, note)
        yield subject
    finally:
        subject.stop()


def _note(notes: list[str], note: str) -> None:
    if note not in notes:
        notes.append(note)


def _round(
    number: int, upstream: int, folder: Path, results: Results, say: Callable[[str], None]
) -> None:
    """Start all, then phase by phase through all rows, beginning with another row each time."""
    with ExitStack() as stack:
        rows: list[Row] = []
        for name in results.plan.subjects:
            subject = stack.enter_context(_started(name, upstream, folder, results.notes))
            if subject is None:
                continue
            rows.extend(subject.rows)
            if subject.start_s is not None:
                results.starts_s.setdefault(subject.name, []).append(subject.start_s)
        for at, phase in enumerate(results.plan.phases):
            turn = (number + at) % len(rows) if rows else 0
            for row in rows[turn:] + rows[:turn]:
                if phase.stream and not row.streams:
                    continue
                say(f"round {number + 1}/{results.plan.rounds}: {phase.name}, {row.name}")
                # One seed a round: each row gets the same prompts, each round gets others.
                job = phase.job(row, seed=1000 * (number + 1) + at)
                try:
                    seen, cpu_s = run_job(job, row.roots, folder)
                except FailedError as wrong:
                    raise FailedError(f"{phase.name} through {row.name}: {wrong}") from None
                results.figures.append(Figure(number, row.name, phase.name, cpu_s, seen))


def _memory(
    name: str, upstream: int, folder: Path, results: Results, say: Callable[[str], None]
) -> None:
    """A fresh subject, many requests through its first row, and its resident memory."""
    with _started(name, upstream, folder, results.notes) as subject:
        if subject is None or not subject.rows or not subject.rows[0].roots:
            return
        row = subject.rows[0]
        after: list[int] = []
        for turn, count in enumerate((results.plan.memory_first, results.plan.memory_then)):
            say(f"memory: {count} requests, {row.name}")
            phase = Phase("memory", "oneshot", requests=count, callers=16)
            run_job(phase.job(row, seed=90_000 + turn), row.roots, folder)
            after.append(procs.rss_bytes(*row.roots))
        results.memory_bytes[row.name] = (after[0], after[1])
