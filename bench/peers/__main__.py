"""Measure the gateway beside LiteLLM, Portkey, TensorZero, nginx and a bare proxy.

    python -m bench.peers [--quick] [--rounds N] [--minutes M] [--publish]
    python -m bench.peers --subjects direct,gateway,litellm
    python -m bench.peers --resume bench/out/peers-....json

The peers are installed into var/peers at the first call. Prints the table; a full run of all
writes it and its plots into bench/README.md, any other one does with --publish. Raw figures are
kept in bench/out/ round by round: a run that was stopped prints what it has, and can be resumed.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from bench import command, machine, table
from bench.peers import report, rounds, svg
from bench.peers.starts import PEERS
from bench.procs import FailedError

FOLDER = Path(__file__).resolve().parents[1]
MARKERS = ("<!-- peers: written by `make bench-peers` -->", "<!-- end of peers -->")


def main() -> int:
    given = _arguments()
    # So that being ended runs the same clearing up as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = "".join(f" {word}" for word in sys.argv[1:] if word in ("--quick", "--publish"))
    facts = machine.facts(words, module="bench.peers")
    if given.remark:
        facts.append(given.remark)
    if given.resume:
        raw: Path = given.resume
        results = rounds.Results.from_json(raw.read_bytes())
        facts.append(f"Resumed after {results.done} rounds.")
    else:
        raw = FOLDER / "out" / f"peers-{time.strftime('%Y%m%d-%H%M%S')}.json"
        results = rounds.Results(rounds.plan(given.quick, given.subjects, given.rounds))
    raw.parent.mkdir(exist_ok=True)

    def keep(now: rounds.Results) -> None:
        fresh = raw.with_suffix(".new")
        fresh.write_bytes(now.as_json())
        fresh.replace(raw)

    began = time.monotonic()
    code = 0
    try:
        rounds.measure(results, command.say, keep, 60 * given.minutes)
    except FailedError as wrong:
        command.say(f"failed: {wrong}")
        code = 1
    except KeyboardInterrupt:
        command.say(f"stopped; go on with: python -m bench.peers --resume {raw}")
        code = 130
    command.say(f"{time.monotonic() - began:.0f} s")
    text = report.report(results, facts)
    print(text)
    if results.done:
        command.say(f"raw figures: {raw}")
    if code == 0 and (given.publish or _is_whole(results)):
        svg.write(FOLDER / "plots", report.plots(report.Figures(results)))
        table.write_between_markers(FOLDER / "README.md", text, MARKERS)
        command.say("bench/README.md has the table")
    return code


def _is_whole(results: rounds.Results) -> bool:
    """All subjects, all phases, and rounds enough for a median."""
    full = rounds.plan(False, tuple(PEERS), results.plan.rounds)
    return results.plan == full and results.done >= 3


def _arguments() -> argparse.Namespace:
    parser = command.parser("python -m bench.peers", __doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: CPU figures only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=44, help="no round that would end later")
    parser.add_argument(
        "--subjects", type=command.some_of(PEERS), default=tuple(PEERS), metavar="A,B"
    )
    parser.add_argument("--publish", action="store_true", help="write the table in any case")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="go on with its raw figures")
    parser.add_argument("--remark", default="", help="a sentence for the head of the report")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
