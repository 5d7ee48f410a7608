"""Measure the gateway beside LiteLLM, Portkey, TensorZero, nginx and a bare proxy.

    python -m bench.peers [--quick] [--rounds N] [--subjects direct,gateway,litellm] [--publish]

The peers are installed into var/peers at the first call. Prints the table; a full run of all
writes bench/PEERS.md and its plots, a quick one does with --publish. Raw figures go to bench/out/.
"""

import argparse
import signal
import sys
import time
from pathlib import Path

from bench import machine, table
from bench.peers import report, rounds, svg
from bench.peers.starts import PEERS
from bench.procs import FailedError

FOLDER = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one short round: CPU figures only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subjects", type=_subjects, default=tuple(PEERS), metavar="A,B")
    parser.add_argument("--publish", action="store_true", help="write PEERS.md after a quick run")
    parser.add_argument("--remark", default="", help="a sentence for the head of the report")
    given = parser.parse_args()
    # So that being ended runs the same clearing up as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = "".join(f" {word}" for word in sys.argv[1:] if word in ("--quick", "--publish"))
    facts = machine.facts(words, module="bench.peers")
    if given.remark:
        facts.append(given.remark)
    began = time.monotonic()
    try:
        asked = rounds.plan(given.quick, given.subjects, given.rounds)
        results = rounds.measure(asked, _say)
    except FailedError as wrong:
        _say(f"failed: {wrong}")
        return 1
    except KeyboardInterrupt:
        _say("stopped; nothing was written")
        return 130
    _say(f"done in {time.monotonic() - began:.0f} s")
    text = report.report(results, facts)
    print(text)
    raw = FOLDER / "out" / f"peers-{time.strftime('%Y%m%d-%H%M%S')}.json"
    raw.parent.mkdir(exist_ok=True)
    raw.write_bytes(results.as_json())
    _say(f"raw figures: bench/out/{raw.name}")
    if given.publish or (not given.quick and given.subjects == tuple(PEERS)):
        svg.write(FOLDER / "plots", report.plots(report.Figures(results)))
        table.write_between_markers(FOLDER / "PEERS.md", text)
        _say("bench/PEERS.md has the table")
    return 0


def _subjects(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"unknown {unknown}; known: {','.join(PEERS)}")
    return names


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
