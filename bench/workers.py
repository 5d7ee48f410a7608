"""What several workers bring: `python -m bench.workers [--rounds N] [--requests N] [--publish]`.

One upstream; gateways with one worker and with two, in turns, 64 connections. Load, upstream and
workers share the machine's cores, so requests a second say little on two cores: what counts is
whether a request costs more CPU when it is one of two workers that answers it. With n workers a
machine that has n cores for them does n x (cost with one / cost with n) times as much.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, mkdtemp

from bench import command, machine
from bench.measure import Phase, run_job, upstream
from bench.procs import Process, free_port, python
from bench.subjects import Row, gateway_config
from bench.table import write_between_markers

COUNTS = (1, 2)
PHASE = Phase("saturated", "oneshot", requests=6000, callers=64, warmup=1000)
PROMISE = 1.8
MARKERS = ("<!-- workers: written by `make bench-workers` -->", "<!-- end of workers -->")


def gateway(folder: Path, upstream_port: int, workers: int) -> tuple[Process, Row]:
    """One gateway with so many workers, ready."""
    own = Path(mkdtemp(dir=folder, prefix=f"workers-{workers}-"))
    port = free_port()
    config = own / "gateway.toml"
    config.write_text(
        gateway_config(port=port, classifier_port=free_port(), upstream_port=upstream_port)
    )
    command = python("gateway", "--config", str(config), "--workers", str(workers))
    process = Process(f"{workers}", command, core=None, log=own / "log", cwd=own)
    try:
        process.wait_for(f"http://127.0.0.1:{port}/readyz", timeout_s=60)
    except BaseException:
        process.stop()
        raise
    return process, Row(f"{workers} workers", port, prefix="bench/", roots=(process.pid,))


def measure(rounds: int, phase: Phase) -> dict[int, list[tuple[float, float]]]:
    """Workers -> CPU µs a request and requests a second, one pair a round."""
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in COUNTS}
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with upstream(folder) as port:
            started = {count: gateway(folder, port, count) for count in COUNTS}
            try:
                for number in range(rounds):
                    turn = number % len(COUNTS)
                    for count in COUNTS[turn:] + COUNTS[:turn]:
                        _, row = started[count]
                        seen, cpu_s = run_job(phase.job(row, seed=number + 1), row.roots, folder)
                        assert cpu_s is not None
                        cost = 1e6 * cpu_s / seen.requests
                        found[count].append((cost, seen.requests / seen.wall_s))
            finally:
                for process, _ in started.values():
                    process.stop()
    return found


def scaling(found: dict[int, list[tuple[float, float]]], count: int) -> float:
    """How many times as much `count` workers do on as many cores: the median over the rounds."""
    pairs = zip(found[1], found[count], strict=True)
    return median(count * one / many for (one, _), (many, _) in pairs)


def report(found: dict[int, list[tuple[float, float]]], facts: Sequence[str]) -> str:
    """The medians, and whether the promise is kept."""
    lines = [f"- {fact}" for fact in facts]
    lines += [
        "",
        "| workers | CPU µs/request | requests/s, all on these cores | times one worker |",
        "|---:|---:|---:|---:|",
    ]
    for count, pairs in found.items():
        cost, rate = median(one for one, _ in pairs), median(other for _, other in pairs)
        lines.append(f"| {count} | {cost:.0f} | {rate:.0f} | {scaling(found, count):.2f} |")
    kept = scaling(found, COUNTS[-1]) >= PROMISE
    lines += ["", f"At least {PROMISE} times with {COUNTS[-1]}: {'yes' if kept else '**no**'}."]
    return "\n".join(lines)


def main() -> int:
    parser = command.parser("python -m bench.workers", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=PHASE.requests)
    parser.add_argument("--publish", action="store_true", help="write the table into README.md")
    given = parser.parse_args()
    phase = Phase("saturated", "oneshot", given.requests, PHASE.callers, warmup=PHASE.warmup)
    facts = machine.facts("", module="bench.workers", pinned=False)
    found = measure(given.rounds, phase)
    text = report(found, [*facts, f"{given.rounds} rounds of {given.requests:,} requests"])
    print(text)
    if given.publish:
        write_between_markers(Path(__file__).parent / "README.md", text, MARKERS)
    return 0 if scaling(found, COUNTS[-1]) >= PROMISE else 1


if __name__ == "__main__":
    sys.exit(main())
