"""One process that serves: from the settings to the last drained stream."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.app import build_app, build_runner
from gateway.environment import Read, folders
from gateway.monitor import logs, reports
from gateway.place import ALONE, Place
from gateway.plan_lines import plan_lines
from gateway.reload import Reloader
from gateway.services import SERVICES, Services
from gateway.tick import tick

if TYPE_CHECKING:
    from gateway.monitor.traces import Traces

LOOK_S = 1.0
"""Between two looks at the file."""
BEAT_S = 0.5
"""Between two writings of the gauge that several workers share."""

log = logging.getLogger("pointsman.serve")

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Post:
    """A worker's place among others. The default is the only one."""

    shared: bool = False
    """Several processes listen on the port; the kernel deals out the connections."""
    tells: bool = True
    """Prints the plan."""
    ready: Callable[[], None] = lambda: None
    """Called when it listens."""
    place: Place = ALONE


async def serve(read: Read, config: Path | None, post: Post = Post()) -> int:
    """Runs until SIGTERM or SIGINT; open streams get `drain_s` to end. SIGHUP and an edited
    `config` reload."""
    settings, environment = read()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    address = ""
    seen: list[Services] = []

    def tell() -> None:
        """Once both are so: it listens, and every upstream was looked at."""
        if address and seen:
            sys.stdout.write("\n".join(plan_lines(seen[0], address)) + "\n")
            tell_token()

    def tell_token() -> None:
        """Once, where the start made one; it stands nowhere else, the log included."""
        accounts = app[SERVICES].accounts
        token, accounts.fresh_admin_token = accounts.fresh_admin_token, None
        if token is not None:
            sys.stdout.write(f"  admin   {address}/#token={token} (shown this once)\n")
        sys.stdout.flush()

    def looked(services: Services) -> None:
        seen.append(services)
        tell()

    told = reports.start(settings.log, environment)
    lines = logs.start(settings.log, number=post.place.worker, reports=told)
    app = build_app(
        settings,
        environment,
        looked if post.tells else None,
        lines.access,
        post.place,
    )
    traces = traces_of(environment)
    if traces is not None:
        app.middlewares.append(traces.middleware())
    runner = build_runner(app, settings)
    beside: list[asyncio.Task[None]] = []
    try:
        await runner.setup()
        if traces is not None:
            app[SERVICES].client.carry = traces.carry
            app[SERVICES].recorder.listeners.append(traces.settled)
        reloader = Reloader(app[SERVICES], read)
        loop.add_signal_handler(signal.SIGHUP, reloader.reload)
        beside.append(asyncio.create_task(watch(config, reloader)))
        await runner.listen(settings.server.host, settings.server.port, post.shared)
        host, port = runner.addresses[0][:2]
        address = f"http://{host}:{port}"
        tell()
        if not post.tells:
            tell_token()
        if post.shared:
            beside.append(asyncio.create_task(beat(app[SERVICES])))
        quieten_gc()
        post.ready()
        await stop.wait()
    finally:
        for task in beside:
            task.cancel()
        await runner.cleanup()
        if traces is not None:
            await asyncio.to_thread(traces.stop)
        lines.stop()
    return 0


def traces_of(environment: Mapping[str, str]) -> Traces | None:
    """None unless a receiver is named and the extra `otel` is there. Raises SettingsError."""
    if not environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    try:
        from gateway.monitor import traces
    except ModuleNotFoundError as missing:
        log.warning("no traces: the extra otel is not installed (%s)", missing.name)
        return None
    return traces.start(environment)


async def watch(config: Path | None, reloader: Reloader) -> None:
    """Reloads when the file, or a folder of secrets, is another one than a moment ago."""
    seen = stamps(config)
    while True:
        await tick(LOOK_S)
        if (now := stamps(config)) != seen:
            seen = now
            reloader.reload()


def stamps(config: Path | None) -> list[Stamp]:
    return [stamp(path) for path in (config, *folders()) if path is not None]


async def beat(services: Services) -> None:
    """Shares this worker's gauges: a scrape may meet any of the workers."""
    while True:
        services.metrics.share()
        await tick(BEAT_S)


def stamp(path: Path) -> Stamp:
    """What changes when a file is written or replaced, or a name in a folder; None when it is not
    there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def quieten_gc() -> None:
    """What was made at start is never looked at again, and the rest less often: collecting was
    10 % of the CPU of a busy gateway. Requests leave few cycles, but those that fail leave some;
    the oldest are looked at, too, as without what was made at start they are few: memory stays
    flat (make soak)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 5)
