"""python -m gateway [--config gateway.toml]"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import uvloop
from aiohttp import web
from dotenv import dotenv_values

from gateway.app import build_app, build_runner
from gateway.monitor import logs
from gateway.plan_lines import plan_lines
from gateway.reload import Read, Reloader
from gateway.services import SERVICES, Services
from gateway.settings import Settings, SettingsError, load
from providers.registry import CatalogError

DEFAULT_CONFIG = Path("gateway.toml")
LOOK_S = 1.0
"""Between two looks at the file."""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    arguments.add_argument("--config", type=Path, help="default: gateway.toml, where it is there")
    given = arguments.parse_args()
    config = given.config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)

    def read() -> tuple[Settings, Mapping[str, str]]:
        environment = {
            **{name: value for name, value in dotenv_values(".env").items() if value is not None},
            **os.environ,
        }
        return load(config, environment), environment

    try:
        return uvloop.run(serve(read, config))
    except (SettingsError, CatalogError) as fault:
        sys.stderr.write(f"pointsman: {fault}\n")
        return 2
    except OSError as fault:
        sys.stderr.write(f"pointsman: {fault.strerror or fault}\n")
        return 1


async def serve(read: Read, config: Path | None) -> int:
    """Runs until SIGTERM or SIGINT; open streams get `drain_s` to end. SIGHUP and an edited
    `config` reload."""
    settings, environment = read()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    address = ""

    def looked(services: Services) -> None:
        sys.stdout.write("\n".join(plan_lines(services, address)) + "\n")
        sys.stdout.flush()

    log = logs.start(settings.log)
    app = build_app(settings, environment, looked, log.access)
    runner = build_runner(app, settings)
    watching: asyncio.Task[None] | None = None
    try:
        await runner.setup()
        reloader = Reloader(app[SERVICES], read)
        loop.add_signal_handler(signal.SIGHUP, reloader.reload)
        watching = asyncio.create_task(watch(config, reloader))
        site = web.TCPSite(runner, settings.server.host, settings.server.port, backlog=1024)
        await site.start()
        host, port = runner.addresses[0][:2]
        address = f"http://{host}:{port}"
        quieten_gc()
        await stop.wait()
    finally:
        if watching is not None:
            watching.cancel()
        await runner.cleanup()
        log.stop()
    return 0


async def watch(config: Path | None, reloader: Reloader) -> None:
    """Reloads when the file is another one than a moment ago."""
    seen = stamp(config)
    while True:
        await asyncio.sleep(LOOK_S)
        if (now := stamp(config)) != seen:
            seen = now
            reloader.reload()


def stamp(config: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file is written or replaced; None when it is not there."""
    try:
        found = os.stat(config) if config is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None


def quieten_gc() -> None:
    """What was made at start is never looked at again, and the rest less often: collecting was
    10 % of the CPU of a busy gateway. Requests leave few cycles; memory stays flat (make bench)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


if __name__ == "__main__":
    sys.exit(main())
