"""Measure the gateway beside a bare proxy, nginx and nothing at all.

    python -m bench [--quick] [--long] [--rounds N] [--subjects direct,nginx,proxy,gateway]

Prints the table. A full run of all subjects writes it into bench/README.md too. The raw figures
go to bench/out/ as JSON.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from bench import command, machine, table
from bench.measure import Plan, measure, phases
from bench.procs import FailedError
from bench.subjects import SUBJECTS

FOLDER = Path(__file__).resolve().parent


def plan_from(arguments: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    if arguments.quick:
        return Plan(phases(quick=True), 1, 1000, 1000, arguments.subjects)
    then = 100_000 if arguments.long else arguments.memory_requests
    return Plan(phases(quick=False), arguments.rounds, 10_000, then, arguments.subjects)


def main() -> int:
    parser = command.parser("python -m bench", __doc__)
    parser.add_argument("--quick", action="store_true", help="see that all works, in a minute")
    parser.add_argument("--long", action="store_true", help="memory over 100,000 more requests")
    parser.add_argument("--rounds", type=_count, default=3)
    parser.add_argument("--memory-requests", type=_count, default=20_000, metavar="N")
    parser.add_argument(
        "--subjects", type=command.some_of(SUBJECTS), default=tuple(SUBJECTS), metavar="A,B"
    )
    arguments = parser.parse_args()
    # So that being ended runs the same clearing up as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    facts = machine.facts("".join(f" {word}" for word in sys.argv[1:]))
    began = time.monotonic()
    try:
        results = measure(plan_from(arguments), command.say)
    except FailedError as wrong:
        command.say(f"failed: {wrong}")
        return 1
    except KeyboardInterrupt:
        command.say("stopped; nothing was written")
        return 130
    command.say(f"done in {time.monotonic() - began:.0f} s")
    text = table.report(results, facts)
    print(text)
    raw = FOLDER / "out" / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    raw.parent.mkdir(exist_ok=True)
    raw.write_bytes(results.as_json())
    command.say(f"raw figures: bench/out/{raw.name}")
    measured = {figure.row for figure in results.figures}
    if arguments.quick or not {"direct", "proxy", "named"} <= measured:
        command.say("bench/README.md stays as it is: this was not a full run")
    else:
        table.write_between_markers(FOLDER / "README.md", text)
        command.say("bench/README.md has the table")
    return 0


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError("from 1 to 1,000,000")
    return number


if __name__ == "__main__":
    sys.exit(main())
