"""Who is measured: how each subject is started, and the rows that it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

import orjson

from bench.job import PATHS, UNCLASSIFIED, Door
from bench.procs import ROOT, FailedError, Process, free_port, post, python
from bench.script import MARK, ONESHOT_CHUNKS

CLASSIFIER_TIMEOUT_MS = 1000
"""Far above the product's own deadline: a classification given up would look cheap here."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a door of one subject."""

    name: str
    port: int
    door: Door = "openai"
    prefix: str = ""
    """Stands before the script's name in `model`."""
    names_model: bool = True
    streams: bool = True
    """Whether streams are measured through it too."""
    roots: tuple[int, ...] = ()
    """Whose trees' CPU and memory it costs; empty for `direct`."""
    path: str = ""
    """Instead of the door's own path."""
    headers: str = ""
    """Further header lines, each with its CRLF."""
    weight: float = 1.0
    """Share of the requests of a closed loop in which callers ask more than once; slow subjects
    need fewer for a steady figure."""

    def model(self, script: str) -> str:
        return self.prefix + script if self.names_model else ""


@dataclass
class Subject:
    """A started subject."""

    name: str
    rows: list[Row]
    processes: list[Process] = field(default_factory=list)
    start_s: float | None = None
    """From exec to the first 200; None for `direct`."""
    notes: list[str] = field(default_factory=list)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


@dataclass(frozen=True)
class Stage:
    """Where a subject is to run."""

    folder: Path
    """For its configuration and its log."""
    upstream_port: int
    core: int | None


class AbsentError(Exception):
    """A subject that this machine or this tree does not have; the text says what is missing."""


def start_direct(stage: Stage) -> Subject:
    """Nobody between: the latency that the others add to."""
    return Subject("direct", [Row("direct", stage.upstream_port)])


def start_nginx(stage: Stage) -> Subject:
    """nginx as a reverse proxy that buffers no answer and keeps its connections."""
    binary = which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if binary is None:
        raise AbsentError("nginx: no such program here (Debian: nginx-light)")
    port = free_port()
    config = stage.folder / "nginx.conf"
    config.write_text(nginx_config(port, stage.upstream_port, stage.folder))
    command = [binary, "-p", str(stage.folder), "-c", str(config), "-e", "stderr"]
    return _serve("nginx", command, port, "/v1/models", stage)


def start_proxy(stage: Stage) -> Subject:
    """The bare aiohttp and uvloop proxy."""
    port = free_port()
    upstream = f"http://127.0.0.1:{stage.upstream_port}"
    command = python("bench.proxy", "--port", str(port), "--upstream", upstream)
    return _serve("proxy", command, port, "/v1/models", stage)


def start_gateway(stage: Stage) -> Subject:
    """The gateway with everything on, and its classifier beside it when there is one."""
    _need_module("gateway")
    classifier, notes = _start_classifier(stage)
    processes = [] if classifier is None else [classifier[0]]
    subject = Subject("gateway", [], processes, notes=notes)
    try:
        port = free_port()
        config = stage.folder / "gateway.toml"
        # A port that nobody listens on stands for the classifier that is not there.
        config.write_text(
            gateway_config(
                port=port,
                classifier_port=classifier[1] if classifier else free_port(),
                upstream_port=stage.upstream_port,
            )
        )
        command = python("gateway", "--config", str(config))
        served = _serve("gateway", command, port, "/readyz", stage)
        gateway = served.processes[0]
        subject.processes.append(gateway)
        subject.start_s = served.start_s
        subject.rows = [
            Row("named", port, "complete", prefix="bench/", roots=(gateway.pid,)),
            Row("relay", port, "openai", prefix="bench/", roots=(gateway.pid,)),
        ]
        if classifier is not None:
            roots = (gateway.pid, classifier[0].pid)
            subject.rows.append(
                Row("auto", port, "complete", names_model=False, streams=False, roots=roots)
            )
        subject.rows = [row for row in subject.rows if _is_there(row, subject.notes)]
    except BaseException:
        subject.stop()
        raise
    return subject


SUBJECTS: dict[str, Callable[[Stage], Subject]] = {
    "direct": start_direct,
    "nginx": start_nginx,
    "proxy": start_proxy,
    "gateway": start_gateway,
}


def nginx_config(port: int, upstream_port: int, folder: Path) -> str:
    """One worker, no log, answers passed on as they come."""
    scratch = "\n".join(
        f"    {kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 2048; }}
http {{
{scratch}
    access_log off;
    client_body_buffer_size 1m;
    keepalive_requests 100000000;
    upstream bench {{
        server 127.0.0.1:{upstream_port};
        keepalive 512;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def gateway_config(*, port: int, classifier_port: int, upstream_port: int) -> str:
    """The gateway's file for a run: only addresses; all else as a user gets it."""
    return f"""[server]
host = "127.0.0.1"
port = {port}

[classifier]
url = "http://127.0.0.1:{classifier_port}"
timeout_ms = {CLASSIFIER_TIMEOUT_MS}

[providers.bench]
kind = "openai"
base_url = "http://127.0.0.1:{upstream_port}/v1"

[routes.auto]
local = ["bench/oneshot"]
strong = ["bench/oneshot"]
"""


def _start_classifier(stage: Stage) -> tuple[tuple[Process, int] | None, list[str]]:
    """The classifier and its port; None with the reason when it cannot be had."""
    try:
        _need_module("classifier")
    except AbsentError as missing:
        return None, [f"`auto` left out: {missing}"]
    port = free_port()
    process = Process(
        "classifier",
        python("classifier", "serve"),
        core=stage.core,
        log=stage.folder / "classifier.log",
        env={"CLASSIFIER_PORT": str(port), "CLASSIFIER_WORKERS": "1"},
    )
    try:
        process.wait_for(f"http://127.0.0.1:{port}/healthz", timeout_s=60)
    except FailedError as wrong:
        process.stop()
        return None, [f"`auto` left out: {wrong}"]
    except BaseException:
        process.stop()
        raise
    return (process, port), []


def _serve(name: str, command: list[str], port: int, ready: str, stage: Stage) -> Subject:
    log = stage.folder / f"{name}.log"
    # In its own folder it finds no .env and leaves nothing behind.
    process = Process(name, command, core=stage.core, log=log, cwd=stage.folder)
    try:
        start_s = process.wait_for(f"http://127.0.0.1:{port}{ready}")
    except BaseException:
        process.stop()
        raise
    return Subject(name, [Row(name, port, roots=(process.pid,))], [process], start_s)


def _need_module(name: str) -> None:
    if not (ROOT / name / "__main__.py").is_file():
        raise AbsentError(f"{name}: `python -m {name}` is not in this tree")


def _is_there(row: Row, notes: list[str]) -> bool:
    """Ask once through this door; a door that is not there leaves the row out."""
    asked: dict[str, object] = {"stream": False}
    if row.names_model:
        asked["model"] = row.model("oneshot")
    if row.door == "openai":
        asked["messages"] = [{"role": "user", "content": "hello"}]
    else:
        asked["message"] = "hello"
    url = f"http://127.0.0.1:{row.port}{PATHS[row.door]}"
    status, _, body = post(url, orjson.dumps(asked))
    if status in (404, 405) and row.name != "named":
        notes.append(f"`{row.name}` left out: POST {PATHS[row.door]} gives {status}")
        return False
    if status != 200 or body.count(MARK) != ONESHOT_CHUNKS:
        raise FailedError(f"POST {PATHS[row.door]} ({row.name}) gives {status}: {body[:400]!r}")
    if not row.names_model and UNCLASSIFIED in body:
        raise FailedError(f"the gateway does not hear the classifier: {body[-400:]!r}")
    return True
