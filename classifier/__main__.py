"""The classifier from the shell: `python -m classifier COMMAND`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def serve() -> None:
    """Become gunicorn; does not return."""
    settings = Path(__file__).resolve().parent / "gunicorn.conf.py"
    os.execv(  # noqa: S606
        sys.executable, [sys.executable, "-m", "gunicorn", "-c", str(settings)]
    )


def classify(text: str) -> int:
    """Print what the service would answer."""
    from classifier import app

    print(json.dumps(app.prepared().classify(text), indent=1, ensure_ascii=False))
    return 0


def explain(text: str, *, as_json: bool) -> int:
    """Print why a prompt gets its score."""
    from classifier import app
    from classifier import explain as why

    answer = why.explain(app.prepared().model, text)
    print(json.dumps(answer, indent=1, ensure_ascii=False) if as_json else why.as_text(answer))
    return 0


def promote(candidate: Path, force: str) -> int:
    """Print the gates; exit code 1 if one of them stands in the way."""
    from classifier import promote as gates
    from classifier.settings import from_environment

    chosen = from_environment(os.environ)
    outcome = gates.promote(candidate, chosen, force)
    print(gates.table(outcome.gates))
    print(f"\n{outcome.words}")
    if not outcome.promoted:
        return 1
    _mind_the_pin(chosen.pinned)
    return 0


def rollback() -> int:
    """Go back to the artefact before the last promotion."""
    from classifier import promote as gates
    from classifier.settings import from_environment

    chosen = from_environment(os.environ)
    print(gates.rollback(chosen))
    _mind_the_pin(chosen.pinned)
    return 0


def bench() -> int:
    """Print what the service costs beside one that answers a constant."""
    from classifier import bench as measured

    print(measured.table(measured.run()))
    return 0


def _mind_the_pin(pinned: bool) -> None:
    if pinned:
        words = "A service that has CLASSIFIER_ARTEFACT set, as here, goes on with that folder."
        print(words, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m classifier", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="run the service under gunicorn")
    asked = commands.add_parser("classify", help="classify one prompt and print the answer")
    asked.add_argument("text")
    why = commands.add_parser("explain", help="say why one prompt gets its score")
    why.add_argument("text")
    why.add_argument("--json", action="store_true", help="as POST /classify?explain=true has it")
    commands.add_parser("train", help="train the artefact", add_help=False)
    commands.add_parser("evaluate", help="judge the artefact", add_help=False)
    better = commands.add_parser("promote", help="check a candidate's gates and let it serve")
    better.add_argument("candidate", type=Path, help="the folder of a trained artefact")
    better.add_argument("--force", metavar="REASON", default="", help="against the gates; is kept")
    commands.add_parser("bench", help="measure the service beside one that answers a constant")
    commands.add_parser("data", help="rebuild the shared labels from their sources", add_help=False)
    commands.add_parser("rollback", help="let the artefact before the last promotion serve")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Hand over to the command; train and evaluate read their own options.

    Exit code 1: a gate refused. 2: the arguments, the settings or an artefact cannot be used.
    """
    if arguments[:1] == ["train"]:
        from classifier.train import main as train

        return train(arguments[1:])
    if arguments[:1] == ["evaluate"]:
        from classifier.evaluate import main as evaluate

        return evaluate(arguments[1:])
    if arguments[:1] == ["data"]:
        from classifier.data import main as data

        return data(arguments[1:])
    chosen = _parser().parse_args(arguments)
    if chosen.command == "serve":
        serve()
    if chosen.command in ("classify", "explain") and not chosen.text.strip():
        print("The prompt must not be empty.", file=sys.stderr)
        return 2
    from classifier.artefact import ArtefactError
    from classifier.embedding import EmbeddingMissing
    from classifier.settings import SettingsError

    try:
        if chosen.command == "bench":
            return bench()
        if chosen.command == "explain":
            return explain(chosen.text, as_json=chosen.json)
        if chosen.command == "promote":
            return promote(chosen.candidate, chosen.force.strip())
        if chosen.command == "rollback":
            return rollback()
        return classify(chosen.text)
    except (ArtefactError, EmbeddingMissing, SettingsError, OSError) as error:
        print(f"Cannot {chosen.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
