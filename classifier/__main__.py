"""`python -m classifier serve | classify "text" | train | evaluate`."""

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
    """Print what the service would answer; exit code 2 without a usable artefact."""
    from classifier import app
    from classifier.artefact import ArtefactError
    from classifier.settings import SettingsError

    if not text.strip():
        print("The prompt must not be empty.", file=sys.stderr)
        return 2
    try:
        answer = app.prepared().classify(text)
    except (ArtefactError, SettingsError) as error:
        print(f"Cannot classify: {error}", file=sys.stderr)
        return 2
    print(json.dumps(answer, indent=1, ensure_ascii=False))
    return 0


def main(arguments: Sequence[str]) -> int:
    """Hand over to the command; train and evaluate read their own options."""
    if arguments[:1] in (["train"], ["evaluate"]):
        if arguments[0] == "train":
            from classifier.train import main as command
        else:
            from classifier.evaluate import main as command
        return command(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m classifier", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="run the service under gunicorn")
    asked = commands.add_parser("classify", help="classify one prompt and print the answer")
    asked.add_argument("text")
    commands.add_parser("train", help="train the artefact", add_help=False)
    commands.add_parser("evaluate", help="judge the artefact", add_help=False)
    chosen = parser.parse_args(arguments)
    if chosen.command == "serve":
        serve()
    return classify(chosen.text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
