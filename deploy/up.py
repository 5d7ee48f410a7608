"""`python -m deploy.up`: the classifier, the embedded model and the gateway, kept running.

The embedded model is left out when LOCAL_MODEL=off, or when an Ollama with a model answers
(LOCAL_MODEL=on starts it all the same). `.env` is read; the environment wins over it.
"""

import asyncio
import errno
import os
import re
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from dotenv import dotenv_values

from deploy.child import Address, Child
from deploy.supervisor import Printer, Supervisor
from gateway.settings import Settings, SettingsError
from gateway.settings_file import load
from local.settings import Settings as LocalSettings
from local.settings import SettingsError as LocalSettingsError

CONFIG = Path("gateway.toml")
LOOPBACK = "127.0.0.1"
CLASSIFIER_DEFAULT = f"http://{LOOPBACK}:8000"
OLLAMA_DEFAULT = f"http://{LOOPBACK}:11434"
OLLAMA_PATIENCE_S = 0.3
SECRET = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|DATABASE_URL|REDIS_URL|SECRETS_DIR)$")
"""Names of variables that are the gateway's alone; providers' keys are called NAME_API_KEY."""
GATEWAY_WAITS_S = 15.0


class StartError(Exception):
    """The services cannot be started as they are set; each line is one fault."""


@dataclass(frozen=True)
class Table:
    """What is started, and what is not and why."""

    children: tuple[Child, ...]
    notes: tuple[str, ...]


def table(environment: Mapping[str, str], settings: Settings, ollama_models: int) -> Table:
    """Raise StartError for a variable that does not hold what it should."""
    children: list[Child] = []
    notes: list[str] = []
    given = dict(environment)
    # The children write to a pipe; whether a person reads is known only here.
    given.setdefault("LOG_FORMAT", "text" if sys.stdout.isatty() else "auto")

    port = _port("CLASSIFIER_PORT", given.get("CLASSIFIER_PORT", ""), 8000)
    host = given.get("CLASSIFIER_HOST", "").strip() or LOOPBACK
    own = f"http://{_reachable(host)}:{port}"
    named = settings.classifier.url.rstrip("/").replace("//localhost:", f"//{LOOPBACK}:")
    if named in (own, CLASSIFIER_DEFAULT):
        given |= {"CLASSIFIER_URL": own, "CLASSIFIER_PORT": str(port)}
        children.append(
            Child(
                name="classifier",
                argv=(sys.executable, "-m", "classifier", "serve"),
                environment=without_secrets(given),
                health_url=f"{own}/healthz",
                address=Address(host, port, "CLASSIFIER_PORT"),
            )
        )
    else:
        notes.append(f"the classifier is at {named}; none is started here")

    wanted, why_not = _local_wanted(given, ollama_models)
    if wanted:
        try:
            port = LocalSettings.from_environment(given).port
        except LocalSettingsError as error:
            raise StartError(str(error)) from None
        own = f"http://{LOOPBACK}:{port}"
        given |= {"LOCAL_BASE_URL": f"{own}/v1"}
        children.append(
            Child(
                name="local",
                argv=(sys.executable, "-m", "local"),
                environment=without_secrets(given),
                health_url=f"{own}/health",
                address=Address(LOOPBACK, port, "LOCAL_PORT"),
            )
        )
    else:
        notes.append(f"the embedded model is not started: {why_not}")

    server = settings.server
    children.append(
        Child(
            name="gateway",
            argv=(sys.executable, "-m", "gateway"),
            environment=given,
            # Port 0 takes a free one, which only the gateway knows.
            health_url=f"http://{_reachable(server.host)}:{server.port}/readyz"
            if server.port
            else "",
            address=Address(server.host, server.port, "PORT") if server.port else None,
            # It looks at its targets once as it starts, and prints what it saw.
            waits_s=GATEWAY_WAITS_S,
        )
    )
    return Table(tuple(children), tuple(notes))


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """For the services that call nobody: what they do not hold they cannot lose."""
    return {name: value for name, value in environment.items() if not SECRET.search(name)}


def taken_ports(addresses: Iterable[Address]) -> list[str]:
    """One plain line for each address that cannot be listened on, also when two are the same."""
    faults = []
    with ExitStack() as held:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            probe = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, address.port))
                probe.listen(1)
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                why = "is taken" if taken else f"cannot be used on {address.host} ({error})"
                faults.append(f"port {address.port} {why}: set {address.variable} to a free one")
    return faults


async def ollama_models(base_url: str, patience_s: float = OLLAMA_PATIENCE_S) -> int:
    """How many models an Ollama at `base_url` has; 0 when none answers in `patience_s` seconds."""
    base_url = base_url.rstrip("/")
    patience = aiohttp.ClientTimeout(total=patience_s)
    try:
        async with aiohttp.ClientSession(timeout=patience, raise_for_status=True) as http:
            async with http.get(f"{base_url}/api/version") as response:
                await response.json()
            async with http.get(f"{base_url}/api/tags") as response:
                return len((await response.json())["models"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
        return 0


def _local_wanted(environment: Mapping[str, str], ollama_models: int) -> tuple[bool, str]:
    said = environment.get("LOCAL_MODEL", "").strip().lower() or "auto"
    if said not in ("auto", "on", "off"):
        raise StartError(f"LOCAL_MODEL must be auto, on or off, not {said!r}")
    if said == "off":
        return False, "LOCAL_MODEL=off"
    if said == "auto" and ollama_models:
        plural = "s" if ollama_models > 1 else ""
        return False, f"Ollama answers and has {ollama_models} model{plural} (LOCAL_MODEL=on)"
    return True, ""


def _reachable(host: str) -> str:
    """Where to ask somebody who listens on `host`: on every address includes the loopback."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104
        return LOOPBACK
    return f"[{host}]" if ":" in host else host


def _port(variable: str, text: str, default: int) -> int:
    if not text.strip():
        return default
    if not text.strip().isdecimal() or not 1 <= int(text) <= 65535:
        raise StartError(f"{variable} must be a port from 1 to 65535, not {text!r}")
    return int(text)


async def up(environment: Mapping[str, str], settings: Settings) -> int:
    """Start what the environment and the settings ask for; return the exit code."""
    ollama = environment.get("OLLAMA_BASE_URL", "").strip() or OLLAMA_DEFAULT
    planned = table(environment, settings, await ollama_models(ollama))
    children = planned.children
    if faults := taken_ports(child.address for child in children if child.address):
        raise StartError("\n".join(faults))
    names = [child.name for child in children]
    say = Printer([*names, "pointsman"], plain="NO_COLOR" in environment)
    for note in planned.notes:
        say("pointsman", note, False)
    say("pointsman", f"starting {', '.join(names)}; Ctrl-C stops", False)
    return await Supervisor(children, say).run()


def main() -> int:
    """Return 0 when all ended well, 1 when something could not start or ended badly."""
    named = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    environment = {**named, **os.environ}
    try:
        settings = load(CONFIG if CONFIG.exists() else None, environment)
        return asyncio.run(up(environment, settings))
    except (StartError, SettingsError) as error:
        for line in str(error).splitlines():
            print(f"pointsman: {line}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
