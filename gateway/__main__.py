"""Serves, and has commands beside that:

python -m gateway codes ...        app codes: make, list, rotate, revoke
python -m gateway token --new      another admin token
python -m gateway feedback label   labels for kept prompts
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import uvloop

from gateway import codes_command, feedback_command, workers
from gateway.environment import Read, environment
from gateway.room import raise_limit
from gateway.settings import Settings, SettingsError
from gateway.settings_file import load
from gateway.store.database import StoreError
from providers import registry
from providers.registry import CatalogError

DEFAULT_CONFIG = Path("gateway.toml")
MAX_WORKERS = 256


def main() -> int:
    """0 after a clean stop; 1 when the address cannot be had or a worker failed; 2 when the
    settings cannot be."""
    arguments = sys.argv[1:]
    try:
        if any(word in codes_command.COMMANDS for word in arguments[:3]):
            return codes_command.command(arguments, reader)
        if any(word in feedback_command.COMMANDS for word in arguments[:3]):
            return feedback_command.command(arguments, reader)
        given = parser().parse_args(arguments)
        config = _config(given.config)
        read = reader(config)
        raise_limit()
        if given.workers > 1:
            return several(given.workers, read, config)
        return alone(read, config)
    except (SettingsError, CatalogError, StoreError) as fault:
        sys.stderr.write(f"pointsman: {fault}\n")
        return 2
    except OSError as fault:
        sys.stderr.write(f"pointsman: {fault.strerror or fault}\n")
        return 1


def reader(config: Path | None) -> Read:
    """Reads the settings anew each time."""
    path = _config(config)

    def read() -> tuple[Settings, Mapping[str, str]]:
        variables = environment()
        return load(path, variables), variables

    return read


def _config(given: Path | None) -> Path | None:
    return given or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m gateway",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--config", type=Path, help="default: gateway.toml, where it is there")
    found.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="processes that share the port; about one a core (default: 1)",
    )
    return found


def alone(read: Read, config: Path | None) -> int:
    from gateway.serve import serve

    return uvloop.run(serve(read, config))


def several(count: int, read: Read, config: Path | None) -> int:
    """Keeps `count` workers. The settings are read once here, so that a mistake is told once."""
    settings, variables = read()
    registry.rows(settings.providers, variables)
    counters = workers.share_metrics()
    try:
        # Everything is imported before the fork, and so stands in memory once.
        from gateway.accounts.bell import Bells
        from gateway.accounts.board import Board
        from gateway.cache.items import MAX_BYTES
        from gateway.cache.shared_shelf import SharedShelf
        from gateway.jobs.line_board import BoardLines
        from gateway.place import Place
        from gateway.rests.near import RestsBoard
        from gateway.serve import Post, serve

        shared = Place(
            board=Board(count),
            shelf=SharedShelf(MAX_BYTES),
            lines=BoardLines(),
            rests=RestsBoard(count),
            bells=Bells(count),
        )
        with workers.reserve(settings.server.host, settings.server.port) as held:
            port = held.getsockname()[1]

            def fixed() -> tuple[Settings, Mapping[str, str]]:
                """Port 0 is one port for all of them."""
                fresh, variables = read()
                if fresh.server.port == 0:
                    server = fresh.server.model_copy(update={"port": port})
                    fresh = fresh.model_copy(update={"server": server})
                return fresh, variables

            def work(number: int, ready: workers.Ready) -> int:
                post = Post(
                    shared=True,
                    tells=number == 0,
                    ready=ready,
                    place=replace(shared, worker=number),
                )
                try:
                    return uvloop.run(serve(fixed, config, post))
                except (SettingsError, CatalogError, StoreError) as fault:
                    sys.stderr.write(f"pointsman: {fault}\n")
                    return 2

            return workers.Keeper(count, work, settings.server.drain_s).run()
    finally:
        workers.wipe(counters)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"from 1 to {MAX_WORKERS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
