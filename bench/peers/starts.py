"""How each peer is started: as its own documents say for production, logs and telemetry off, one
process, bound to the subject's core."""

import time

from bench.peers import install
from bench.procs import FailedError, Process, free_port, post
from bench.script import MARK, NAMES, ONESHOT_CHUNKS
from bench.subjects import SUBJECTS, Row, Stage, Subject

SCRIPTS = (*NAMES, "chunks-16-10ms", "chunks-64-20ms")
SLOW_START_S = 120.0

# Portkey listens on every address and has no setting for it.
LOOPBACK_ONLY = """const net = require("net");
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...given) {
  if (typeof given[0] === "number") {
    given.splice(1, typeof given[1] === "string" ? 1 : 0, "127.0.0.1");
  } else if (given[0] && typeof given[0] === "object" && "port" in given[0]) {
    given[0].host = "127.0.0.1";
  }
  return listen.apply(this, given);
};
"""

# The wheel holds the gateway itself, and starts it on a port of its own choice.
TENSORZERO_START = """import signal, sys
from pathlib import Path
from tensorzero.tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None,
    async_setup=False,
)
Path(sys.argv[2]).write_text(gateway.base_url)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
"""


def start_litellm(stage: Stage) -> Subject:
    python = install.python_peer("litellm", install.LITELLM, print)
    models = "".join(
        f"  - model_name: {name}\n    litellm_params:\n      model: openai/{name}\n"
        f"      api_base: http://127.0.0.1:{stage.upstream_port}/v1\n      api_key: none\n"
        for name in SCRIPTS
    )
    config = stage.folder / "litellm.yaml"
    config.write_text(f"model_list:\n{models}litellm_settings:\n  telemetry: false\n")
    port = free_port()
    command = [
        *(str(python.with_name("litellm")), "--config", str(config)),
        *("--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
    ]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    process = _process("litellm", command, stage, environment)
    return _answering(process, port, "/health/liveliness", weight=0.1)


def start_portkey(stage: Stage) -> Subject:
    node, entry = install.portkey(print)
    preload = stage.folder / "loopback.cjs"
    preload.write_text(LOOPBACK_ONLY)
    port = free_port()
    command = [node, "-r", str(preload), str(entry), f"--port={port}", "--headless"]
    environment = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
    process = _process("portkey", command, stage, environment)
    headers = (
        "x-portkey-provider: openai\r\n"
        f"x-portkey-custom-host: http://127.0.0.1:{stage.upstream_port}/v1\r\n"
        "Authorization: Bearer none\r\n"
    )
    return _answering(process, port, "/", headers=headers, weight=0.5)


def start_tensorzero(stage: Stage) -> Subject:
    python = install.python_peer("tensorzero", install.TENSORZERO, print)
    models = "".join(
        f'[models.{name}]\nrouting = ["up"]\n[models.{name}.providers.up]\ntype = "openai"\n'
        f'model_name = "{name}"\napi_base = "http://127.0.0.1:{stage.upstream_port}/v1/"\n'
        'api_key_location = "none"\n'
        for name in SCRIPTS
    )
    config = stage.folder / "tensorzero.toml"
    config.write_text(f"[gateway]\nobservability.enabled = false\n{models}")
    script, said = stage.folder / "start.py", stage.folder / "address"
    script.write_text(TENSORZERO_START)
    process = _process("tensorzero", [str(python), str(script), str(config), str(said)], stage)
    try:
        address = process.wait_for_file(said)
    except BaseException:
        process.stop()
        raise
    port = int(address.split(":")[2].split("/")[0])
    return _answering(
        process,
        port,
        # It has no door for this; it has written its address when it listens.
        "",
        path="/openai/v1/chat/completions",
        prefix="tensorzero::model_name::",
    )


PEERS = {
    **SUBJECTS,
    "tensorzero": start_tensorzero,
    "portkey": start_portkey,
    "litellm": start_litellm,
}


def _process(
    name: str, command: list[str], stage: Stage, environment: dict[str, str] | None = None
) -> Process:
    # Its own packages only: our tree is not on its path.
    given = {"HOME": str(stage.folder), "PYTHONPATH": "", **(environment or {})}
    return Process(
        name,
        command,
        core=stage.core,
        log=stage.folder / f"{name}.log",
        cwd=stage.folder,
        env=given,
    )


def _answering(
    process: Process,
    port: int,
    ready: str,
    *,
    path: str = "",
    prefix: str = "",
    headers: str = "",
    weight: float = 1.0,
) -> Subject:
    """The subject once it is ready and has given one right answer."""
    try:
        start_s = (
            process.wait_for(f"http://127.0.0.1:{port}{ready}", timeout_s=SLOW_START_S)
            if ready
            else time.perf_counter() - process.started
        )
        row = Row(
            process.name,
            port,
            prefix=prefix,
            roots=(process.pid,),
            path=path,
            headers=headers,
            weight=weight,
        )
        lines = dict(line.split(": ", 1) for line in headers.splitlines())
        body = b'{"model":"%b","messages":[{"role":"user","content":"hello"}]}'
        status, _, said = post(
            f"http://127.0.0.1:{port}{path or '/v1/chat/completions'}",
            body % row.model("oneshot").encode(),
            headers=lines,
        )
        if status != 200 or said.count(MARK) != ONESHOT_CHUNKS:
            raise FailedError(f"{process.name} answers {status}: {said[:300]!r}")
    except BaseException:
        process.stop()
        raise
    return Subject(process.name, [row], [process], start_s)
