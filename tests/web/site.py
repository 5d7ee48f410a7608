"""The built page in Debian's Chromium, before a real gateway, over a line that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright

from tests.replay.gateway import Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

ROOT = Path(__file__).parents[2]
DIST = ROOT / "web" / "dist"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
TOKEN = "tests-admin-token"
WIDE, NARROW = (1280, 800), (390, 844)
VERDICT = {
    "tier": "strong",
    "model": "gpt-4o",
    "score": 0.21,
    "percentile": 0.1,
    "domain": "maths",
    "confidence": 0.79,
    "version": "2-test",
}
"""What a classifier says of a hard prompt."""
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(event.violatedDirective + " " + event.blockedURI));
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""


def require_page() -> None:
    """Skips, and says so, where there is no page or no browser; fails where WEB_TESTS=required."""
    missing = []
    if not (DIST / "index.html").is_file():
        missing.append("web/dist is not built: run `make web`")
    if not shutil.which(CHROMIUM):
        missing.append(f"there is no {CHROMIUM}: install Debian's chromium, or set CHROMIUM")
    if missing and os.environ.get("WEB_TESTS") == "required":
        pytest.fail("; ".join(missing))
    if missing:
        pytest.skip("; ".join(missing))


class Line:
    """A TCP line to the gateway. It can be cut, mended, and told to let no socket through."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.is_cut = False
        self.no_sockets = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Every connection breaks at once, and no new one comes through."""
        self.is_cut = True
        for writer in list(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        self.is_cut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carried(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _carried(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            return
        head = await reader.read(65536)
        if self.no_sockets and b"upgrade: websocket" in head.lower():
            writer.write(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        far_writer.write(head)
        both = {writer, far_writer}
        self._open |= both
        try:
            await asyncio.gather(_pumped(reader, far_writer), _pumped(far_reader, writer))
        finally:
            self._open -= both
            far_writer.transport.abort()


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    writer.transport.close()


@dataclass
class Site:
    """A gateway whose two tiers are replay servers, and a page before it."""

    gateway: Running
    easy: ReplayServer
    hard: ReplayServer
    line: Line
    browser: Browser
    context: BrowserContext
    page: Page
    requested: list[str] = field(default_factory=list)
    """Every address that the page asked for."""
    complaints: list[str] = field(default_factory=list)
    """Errors of its console, and exceptions."""

    async def open(self, path: str = "/") -> None:
        await self.page.goto(self.line.url + path)

    async def ready(self, path: str = "/") -> None:
        """Until the page is connected."""
        await self.open(path)
        await self.page.locator(".lamp.ready").wait_for(state="attached")

    async def ask(self, text: str) -> None:
        await self.page.fill("#question", text)
        await self.page.keyboard.press("Enter")

    async def answered(self, count: int = 1) -> None:
        """Until that many answers say where they came from."""
        await self.page.locator(".whence").nth(count - 1).wait_for()

    @property
    def prose(self) -> Locator:
        return self.page.locator(".prose")

    async def violations(self) -> list[str]:
        found: list[str] = await self.page.evaluate("() => window.violations")
        return found


def streamed(text: str, delay_s: float = 0.0, pieces: int = 0) -> Play:
    """An answer, word by word; `pieces` of it apart from each other by `delay_s`."""
    body = openai_stream(*re.findall(r"\s*\S+", text))
    chunk = len(body) // pieces + 1 if pieces else None
    return Play(body, chunk=chunk, delay_s=delay_s)


@asynccontextmanager
async def chromium() -> AsyncGenerator[Browser, None]:
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def a_site(
    size: tuple[int, int] = WIDE,
    scheme: str = "light",
    touch: bool = False,
    bypass_csp: bool = False,
    **tree: Any,
) -> AsyncGenerator[Site, None]:
    require_page()
    async with (
        ReplayServer(streamed("A short answer.")) as easy,
        ReplayServer(streamed("A long answer.")) as hard,
        chromium() as browser,
        AsyncExitStack() as stack,
    ):
        providers = {"easy": openai_provider(easy.url), "hard": openai_provider(hard.url)}
        # In a file: a page that leaves while it reads must not take the one connection with it.
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = {"database": f"sqlite:///{folder}/pointsman.db"}
        tree = {"providers": providers, "web": {"dist": str(DIST)}, "store": store, **tree}
        easy.answers["/v1/models"] = b'{"data": [{"id": "m"}, {"id": "other"}]}'
        hard.answers["/v1/models"] = b'{"data": [{"id": "m"}]}'
        async with running(settings(**tree)) as gateway:
            line = Line(gateway.url)
            await line.start()
            context = await browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if scheme == "dark" else "light",
                has_touch=touch,
                bypass_csp=bypass_csp,
            )
            await context.add_init_script(WATCH)
            page = await context.new_page()
            page.set_default_timeout(15_000)
            site = Site(gateway, easy, hard, line, browser, context, page)
            page.on("request", lambda request: site.requested.append(request.url))
            page.on("pageerror", lambda error: site.complaints.append(str(error)))
            try:
                yield site
            finally:
                with contextlib.suppress(Exception):
                    await context.close()
                await line.stop()
