"""The gateway that the documents talk of: whom they name answers, in his language."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from tests.docs.blocks import ROOT
from tests.doors.upstreams import BASES, STREAMS, WHOLES, Said
from tests.replay.gateway import ADMIN, Running, running, settings
from tests.replay.server import answering

SAID = Said(pieces=("Red", ", green", " and blue."))
PROVIDERS = {
    "openai": ("openai", ["gpt-4o", "gpt-4o-mini", "text-embedding-3-small"]),
    "anthropic": ("anthropic", ["claude-sonnet-4-5"]),
    "gemini": ("gemini", ["gemini-2.0-flash"]),
    "ollama": ("ollama", ["llama3.2"]),
    "together": ("openai", ["meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo"]),
    "lab": ("openai", ["m"]),
}
TOKEN = ADMIN["Authorization"].removeprefix("Bearer ")
LIMIT_S = 120.0
IDS = (r"\b[0-9a-f]{32}\b", r"\b[0-9a-f]{16}\b", r"\bpm-[A-Za-z0-9_-]{20,}")


async def _answer(request: web.Request) -> web.Response:
    path = request.path
    if request.method != "POST":
        return web.json_response({"data": [{"id": "m"}], "models": []})
    body = orjson.loads(await request.read())
    if path.endswith("/embeddings"):
        row = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        told = {"object": "list", "data": [row], "model": body["model"], "usage": usage}
        return web.json_response(told)
    if path.endswith("/api/show"):
        return web.json_response({}, status=404)
    kind, stream = "openai", bool(body.get("stream"))
    if path.endswith("/messages"):
        kind = "anthropic"
    elif path.endswith("/api/chat"):
        kind, stream = "ollama", body.get("stream", True)
    elif "enerateContent" in path:
        kind, stream = "gemini", "stream" in path
    if stream:
        content_type = "application/x-ndjson" if kind == "ollama" else "text/event-stream"
        return web.Response(body=STREAMS[kind](SAID), content_type=content_type)
    return web.json_response(WHOLES[kind](SAID))


def upstream() -> AbstractAsyncContextManager[str]:
    return answering(_answer)


def tree_of(url: str, database: Path, own: dict[str, Any]) -> dict[str, Any]:
    """`own`: what the document itself sets."""
    tree: dict[str, Any] = {
        "providers": {
            name: {
                "kind": kind,
                "base_url": url + BASES[kind],
                "api_key": "sk-docs-0123456789",
                "models": models,
                "default_model": models[0],
            }
            for name, (kind, models) in PROVIDERS.items()
        },
        "routes": {
            "auto": {"local": ["ollama/llama3.2"], "strong": ["anthropic/claude-sonnet-4-5"]}
        },
        "store": {"database": f"sqlite:///{database}"},
        "feedback": {"capture": True},
        "jobs": {"webhook_secret": "a secret of the documents"},
    }
    for section, values in own.items():
        if section in ("server", "store", "classifier", "access", "log", "attempts"):
            # That is held against the settings' own rules; the gateway of the test stays its own.
            continue
        tree[section] = {**tree.get(section, {}), **values}
    return tree


@dataclass
class Shell:
    """Runs a document's commands one after the other, with what they left in the environment."""

    gateway: Running
    folder: Path
    learnt: dict[str, str] = field(default_factory=dict)
    """The document's id or code -> the one that came of it here."""

    def __post_init__(self) -> None:
        shims = self.folder / "bin"
        shims.mkdir()
        python = shims / "python"
        # A link would lose the environment that it belongs to.
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        found = shutil.which("curl")
        assert found is not None, "the documents' commands need curl"
        curl = shims / "curl"
        log = self.folder / "statuses"
        curl.write_text(
            f"#!/bin/sh\nexec {found} --max-time 60 "
            f"-w '%{{stderr}}STATUS %{{http_code}}\\n' \"$@\" 2>>{log}\n"
        )
        curl.chmod(0o755)

    def here(self, text: str) -> str:
        """With our port and our ids."""
        port = self.gateway.url.rpartition(":")[2]
        text = re.sub(r"\b(localhost|127\.0\.0\.1):8080\b", f"127.0.0.1:{port}", text)
        for documented, real in self.learnt.items():
            text = text.replace(documented, real)
        return text

    def learn(self, documented: str, real: str) -> None:
        for pattern in IDS:
            told = dict.fromkeys(re.findall(pattern, documented))
            came = dict.fromkeys(re.findall(pattern, real))
            self.learnt |= dict(zip(told, came, strict=False))

    async def run(self, command: str, documented: str) -> tuple[str, list[int]]:
        """Output and the statuses that curl saw; AssertionError for an exit code other than 0."""
        state = self.folder / "state"
        script = (
            f"set -a; [ -f {state} ] && . {state}\n{self._key()}\n{self.here(command)}\n"
            f"code=$?; export -p > {state}; exit $code"
        )
        out, code = await self._execute("/bin/bash", "-c", script)
        assert code == 0, f"{command}\nexit code {code}\n{out}"
        self.learn(documented, out)
        log = self.folder / "statuses"
        said = log.read_text() if log.exists() else ""
        statuses = [int(status) for status in re.findall(r"STATUS (\d+)$", said, flags=re.M)]
        log.unlink(missing_ok=True)
        return out, statuses

    async def python(self, code: str) -> str:
        out, status = await self._execute(sys.executable, "-c", self.here(code))
        assert status == 0, out
        return out

    def _key(self) -> str:
        codes = [real for real in self.learnt.values() if real.startswith("pm-")]
        return f"KEY={codes[-1]}" if codes else ""

    async def _execute(self, *command: str) -> tuple[str, int | None]:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "LANG": "C.UTF-8",
                "TOKEN": TOKEN,
                "ADMIN_TOKEN": TOKEN,
                "DATABASE_URL": f"sqlite:///{self.folder / 'docs.db'}",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                out, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return out.decode(), process.returncode


@asynccontextmanager
async def shell_of(folder: Path, own: dict[str, Any]) -> AsyncGenerator[Shell, None]:
    async with upstream() as url:
        tree = tree_of(url, folder / "docs.db", own)
        for row in tree["providers"].values():
            # The documents' own upstream is played, too.
            row["base_url"] = re.sub(r"^http://127\.0\.0\.1:9000", url, row["base_url"])
        async with running(settings(**tree)) as gateway:
            yield Shell(gateway, folder)
