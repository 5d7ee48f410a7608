"""The built page is served to browsers, and every door still answers programs."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from tests.replay.gateway import Running, running, settings

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A small build, as Vite lays it down."""
    dist = tmp_path / "dist"
    (dist / "assets").mkdir(parents=True)
    (dist / "swagger").mkdir()
    (dist / ".vite").mkdir()
    (dist / ".vite/manifest.json").write_text("{}")
    (dist / "index.html").write_text("<!doctype html><title>Pointsman</title>")
    (dist / "assets/index-1a2b.js").write_text("let one = 1;")
    (dist / "assets/index-1a2b.js.gz").write_bytes(gzip.compress(b"let one = 1;"))
    (dist / "assets/index-1a2b.css").write_text("a{}")
    (dist / "favicon.svg").write_text("<svg/>")
    (dist / "swagger/swagger-ui-bundle.js").write_text("var SwaggerUIBundle;")
    (dist / "swagger/swagger-ui.css").write_text("b{}")
    (tmp_path / "secret.txt").write_text("words that nobody reads")
    return dist


async def got(
    gateway: Running, path: str, headers: dict[str, str] | None = None
) -> tuple[int, Any, bytes]:
    url = URL(gateway.url + path, encoded=True)
    async with gateway.session.get(
        url, headers=headers or {}, skip_auto_headers=["Accept-Encoding"]
    ) as response:
        return response.status, response.headers, await response.read()


async def test_a_browser_gets_the_page_and_a_program_the_door(built: Path) -> None:
    async with running(settings(web={"dist": str(built)})) as gateway:
        for path in ("/", "/monitoring", "/routing", "/jobs", "/settings", "/profile"):
            status, headers, body = await got(gateway, path, BROWSER)
            assert (status, b"<title>Pointsman</title>" in body) == (200, True), path
            assert headers["Content-Type"] == "text/html; charset=utf-8"
            assert headers["Content-Security-Policy"].startswith("default-src 'self'")
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Cache-Control"] == "no-cache"
            assert "Accept" in headers["Vary"]
        assert (await got(gateway, "/"))[2] == b"Ollama is running"
        status, headers, _ = await got(gateway, "/monitoring", {"Accept": "application/json"})
        assert (status, headers["Content-Type"].partition(";")[0]) == (200, "application/json")


async def test_files_with_a_hash_are_kept_for_ever_and_packed_ones_are_sent_packed(
    built: Path,
) -> None:
    async with running(settings(web={"dist": str(built)})) as gateway:
        status, headers, body = await got(gateway, "/assets/index-1a2b.js")
        assert (status, body) == (200, b"let one = 1;")
        assert headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Content-Encoding" not in headers
        _, packed, _ = await got(
            gateway, "/assets/index-1a2b.js", {"Accept-Encoding": "gzip, deflate, br"}
        )
        assert packed["Content-Encoding"] == "gzip"
        status, _, _ = await got(
            gateway, "/assets/index-1a2b.js", {"If-None-Match": headers["ETag"]}
        )
        assert status == 304
        _, headers, _ = await got(gateway, "/favicon.svg")
        assert headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets//etc/passwd",
        "/.vite/manifest.json",
        "/assets/",
        "/assets/nothing.js",
    ],
)
async def test_no_path_leaves_the_build(built: Path, path: str) -> None:
    async with running(settings(web={"dist": str(built)})) as gateway:
        status, _, body = await got(gateway, path, BROWSER)
        assert (status, b"nobody reads" in body) == (404, False)


async def test_without_a_build_a_browser_reads_how_to_make_one(tmp_path: Path) -> None:
    async with running(settings(web={"dist": str(tmp_path / "none")})) as gateway:
        status, _, body = await got(gateway, "/", BROWSER)
        assert (status, b"make web" in body) == (200, True)
        for path in ("/monitoring", "/docs"):
            status, _, body = await got(gateway, path, BROWSER)
            assert (status, b"make web" in body) == (404, True)
        assert (await got(gateway, "/"))[2] == b"Ollama is running"


async def test_a_new_build_is_served_without_a_restart(built: Path) -> None:
    async with running(settings(web={"dist": str(built)})) as gateway:
        await got(gateway, "/", BROWSER)
        (built / "index.html").write_text("<!doctype html><title>another one</title>")
        (built / "assets/index-3c4d.js").write_text("let two = 2;")
        assert b"another one" in (await got(gateway, "/", BROWSER))[2]
        assert (await got(gateway, "/assets/index-3c4d.js"))[0] == 200


async def test_the_documentation_page_loads_its_own_files_only(built: Path) -> None:
    async with running(settings(web={"dist": str(built)})) as gateway:
        status, headers, body = await got(gateway, "/docs", BROWSER)
        assert status == 200
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert b"http" not in body.replace(b"https?", b"")
        for path in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
            assert b"/swagger/" + path.encode() in body
            assert (await got(gateway, "/swagger/" + path))[0] == 200
        assert b"<script>" not in body


async def test_a_head_of_the_page_has_no_body(built: Path) -> None:
    async with (
        running(settings(web={"dist": str(built)})) as gateway,
        aiohttp.ClientSession() as session,
        session.head(gateway.url + "/", headers=BROWSER) as response,
    ):
        assert response.status == 200
        assert await response.read() == b""
