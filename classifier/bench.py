"""What the service costs beside one that answers a constant: `python -m classifier bench`.

Both are the real gunicorn with one worker: the same runner, routes, middleware, body parser and
counters. The other one scores nothing and writes an answer made before. One caller asks over one
kept connection; CPU is the worker's own, from /proc, so that the caller's does not count.

Caller and worker are bound to cores: to one each, and to one between them. Left to the kernel the
constant shares its caller's core, where all it needs is still at hand, and the service, which runs
longer, is moved to another: the same two services were then measured in two places.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from classifier import labels
from classifier.bodies import EITHER, parse

HERE = Path(__file__).resolve().parent
# Many short turns: what else the machine does changes within seconds, and must hit both alike.
REQUESTS, WARM, ROUNDS = 300, 30, 40
SIZES = (60, 400)
PLACES = ("a core each", "one core")
LONGEST_START = 30.0
TICK = os.sysconf("SC_CLK_TCK")
MOST_RATIO = 4.0


async def constant() -> web.AppRunner:
    """The service with a scorer that knows one answer; gunicorn calls it in place of ours."""
    from classifier import app

    service = app.prepared()
    answer = orjson.dumps(service.classify("Name three colours."))

    async def fixed(request: web.Request) -> web.Response:
        parse(await request.read(), EITHER)
        return web.Response(body=answer, headers=app.JSON)

    service.classify_route = fixed  # type: ignore[method-assign]
    return await app.create()


def run() -> dict[str, Any]:
    """CPU and wall time a request in µs, by place and size; memory of four workers in MB."""
    found: dict[str, Any] = {}
    text = " ".join(prompt for _, _, prompt in labels.own_prompts())
    cores = sorted(os.sched_getaffinity(0))
    for place in PLACES:
        for size in SIZES:
            prompts = [text[i : i + size] for i in range(0, 12_000, 100)]
            with _running(1, "classifier.bench:constant") as fixed, _running(1, "") as ours:
                os.sched_setaffinity(0, cores[:1])
                for _, pids in (fixed, ours):
                    os.sched_setaffinity(pids[1], cores[-1:] if place == PLACES[0] else cores[:1])
                found[f"{size} characters, {place}"] = _compared(fixed, ours, prompts)
            os.sched_setaffinity(0, cores)
    with _running(4, "") as (port, pids):
        _asked(port, pids, [text[:400]])
        found["four_workers_pss_mb"] = round(sum(map(_pss, pids)) / 1024, 1)
    return found


def _compared(
    fixed: tuple[int, list[int]], ours: tuple[int, list[int]], prompts: list[str]
) -> dict[str, float]:
    """Both in turns: medians and the ratios of one to the other."""
    cpu: dict[str, list[float]] = {"constant": [], "service": []}
    wall: dict[str, list[float]] = {"constant": [], "service": []}
    for _ in range(ROUNDS):
        for name, (port, pids) in (("constant", fixed), ("service", ours)):
            spent, took = _asked(port, pids, prompts)
            cpu[name].append(spent)
            wall[name].append(took)
    row: dict[str, float] = {}
    for name in cpu:
        row[f"{name}_cpu_us"] = round(statistics.median(cpu[name]), 1)
        row[f"{name}_wall_us"] = round(statistics.median(wall[name]), 1)
    return {**row, "ratio_cpu": _ratio(cpu), "ratio_wall": _ratio(wall)}


def _ratio(turns: dict[str, list[float]]) -> float:
    """The median over turns of what the service took to what the constant took just before."""
    pairs = zip(turns["service"], turns["constant"], strict=True)
    return round(statistics.median(ours / fixed for ours, fixed in pairs), 2)


def table(found: dict[str, Any]) -> str:
    """The figures as lines of text."""
    head = f"{'prompt; caller, worker':<28}{'constant':>12}{'service':>12}{'CPU':>8}{'wall':>8}"
    lines = [head, "-" * len(head)]
    for name, row in found.items():
        if not isinstance(row, dict):
            continue
        lines.append(
            f"{name:<28}{row['constant_cpu_us']:>9.1f} µs"
            f"{row['service_cpu_us']:>9.1f} µs{row['ratio_cpu']:>7.2f}x{row['ratio_wall']:>7.2f}x"
        )
    lines.append(f"at most {MOST_RATIO:g}x; µs are the worker's CPU a request")
    lines.append(
        f"four workers and their master, shared memory counted once: "
        f"{found['four_workers_pss_mb']} MB"
    )
    return "\n".join(lines)


@contextmanager
def _running(workers: int, target: str) -> Iterator[tuple[int, list[int]]]:
    """gunicorn on a free port; yields the port and the processes, the master first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = str(HERE / "gunicorn.conf.py")
    command = [sys.executable, "-m", "gunicorn", "-c", settings, *([target] if target else [])]
    ours = {"CLASSIFIER_PORT": str(port), "CLASSIFIER_WORKERS": str(workers)}
    process = subprocess.Popen(  # noqa: S603
        command,
        cwd=HERE.parent,
        env={**os.environ, **ours},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + LONGEST_START
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("The service did not start; run `python -m classifier serve`.")
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii")
        yield port, [process.pid, *map(int, children.split())]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=40)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as caller:
            caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return caller.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _asked(port: int, pids: list[int], prompts: list[str]) -> tuple[float, float]:
    """(CPU, wall) a request in µs."""
    asked = []
    for prompt in prompts:
        body = orjson.dumps({"message": prompt})
        head = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        asked.append(head.encode() + body)
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(WARM):
            _one(caller, asked[i % len(asked)])
        spent, start = sum(map(_cpu, pids[1:])), time.perf_counter()
        for i in range(REQUESTS):
            _one(caller, asked[i % len(asked)])
        wall = (time.perf_counter() - start) / REQUESTS * 1e6
        cpu = (sum(map(_cpu, pids[1:])) - spent) / REQUESTS * 1e6
    return cpu, wall


def _one(caller: socket.socket, request: bytes) -> None:
    """Send one request and read its whole answer."""
    caller.sendall(request)
    answer = caller.recv(65536)
    while b"\r\n\r\n" not in answer:
        answer += caller.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += caller.recv(65536)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"The service answered {head[:40]!r}.")


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used; /proc counts nanoseconds for its main thread."""
    schedstat = Path(f"/proc/{pid}/schedstat")
    if schedstat.is_file():
        return int(schedstat.read_text("ascii").split()[0]) / 1e9
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _pss(pid: int) -> int:
    """Kilobytes of a process, what it shares counted in part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
