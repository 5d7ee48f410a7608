"""What the commands of the bench have in common."""

import argparse
import sys
from collections.abc import Callable, Collection


def parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def some_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Reads A,B: names of the known, each once."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(",")))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown {unknown}; known: {','.join(known)}")
        return names

    return read


def say(text: str) -> None:
    """Beside the table, which goes to standard output."""
    print(text, file=sys.stderr, flush=True)
