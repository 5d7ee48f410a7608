"""The built page: `/` and its other addresses for browsers, and the files that it loads.

One address may be a page and a door: who accepts HTML, as a browser's navigation does, gets the
page, anyone else the door. Files are read into memory once for each build, so nothing of a
request's path ever reaches the file system. Pages hold no data; they ask for it as any caller.
"""

from __future__ import annotations

import hashlib
import logging
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.version import VERSION

PAGES = frozenset(
    (
        "/",
        "/monitoring",
        "/routing",
        "/jobs",
        "/usage",
        "/codes",
        "/settings",
        "/profile",
    )
)
DOCS = "/docs"
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
LARGEST = 16 * 2**20
"""Bytes of one file; a build has none so large."""
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
MISSING = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Pointsman</title>
<h1>Pointsman {VERSION}</h1>
<p>The gateway runs, and its page was not built: run <code>make web</code> (it needs Node 20) and
load this again. <a href="/openapi.json">openapi.json</a> describes every door;
<a href="/health">health</a>, <a href="/v1/models">models</a>.</p></html>
"""
SWAGGER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Pointsman: doors</title>
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/swagger/swagger-ui.css"></head>
<body><main id="swagger"></main>
<script src="/swagger/swagger-ui-bundle.js"></script>
<script src="/swagger/start.js"></script></body></html>
"""
START = b"""SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger",
  deepLinking: true,
  tryItOutEnabled: true,
  persistAuthorization: false,
  validatorUrl: null,
});
"""
log = logging.getLogger("pointsman.page")


@dataclass(frozen=True, slots=True)
class File:
    body: bytes
    content_type: str
    etag: str
    packed: tuple[tuple[str, bytes], ...]
    lasting: bool
    """Its name changes with its content."""


class Site:
    """What one build holds, by path. Read again when its index.html is another one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp: tuple[int, int] | None = None
        self._files: dict[str, File] = {}
        self.look()

    def look(self) -> None:
        try:
            stat = (self._folder / "index.html").stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            self._stamp, self._files = None, {}
            return
        if stamp != self._stamp:
            self._stamp, self._files = stamp, _read(self._folder)

    def file(self, path: str) -> File | None:
        return self._files.get(path)

    def page(self, path: str) -> File | None:
        """What a browser gets that navigates to a page; None when nothing was built."""
        self.look()
        if path == DOCS:
            whole = "/swagger/swagger-ui-bundle.js" in self._files
            return _file(SWAGGER.encode(), "text/html") if whole else None
        return self._files.get("/index.html")


SITE = web.AppKey("site", Site)


def register(app: web.Application, dist: str) -> None:
    app[SITE] = Site(Path(dist))


def shown(site: Site, request: web.Request) -> web.Response | None:
    """A page or a file of it, for whoever asks with GET or HEAD; None for what is none."""
    path = request.path
    if path in PAGES or path == DOCS:
        if path != DOCS and "text/html" not in request.headers.get("Accept", ""):
            return None
        page = site.page(path)
        if page is None:
            return web.Response(
                text=MISSING,
                content_type="text/html",
                status=200 if path == "/" else 404,
                headers={**PAGE_HEADERS, "Cache-Control": "no-store", "Vary": "Accept"},
            )
        return _answer(request, page, {**PAGE_HEADERS, "Vary": "Accept, Accept-Encoding"})
    file = site.file(path)
    if file is None or path == "/index.html":
        return None
    return _answer(request, file, {"X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"})


def _answer(request: web.Request, file: File, headers: dict[str, str]) -> web.Response:
    headers["ETag"] = file.etag
    headers["Cache-Control"] = "public, max-age=31536000, immutable" if file.lasting else "no-cache"
    if file.etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    body = file.body
    accepted = request.headers.get("Accept-Encoding", "").lower()
    for encoding, packed in file.packed:
        if encoding in accepted:
            body = packed
            headers["Content-Encoding"] = encoding
            break
    headers["Content-Type"] = file.content_type
    return web.Response(body=body, headers=headers)


def _read(folder: Path) -> dict[str, File]:
    """Every file of the build but those with a dot in front."""
    found = {"/swagger/start.js": _file(START, "text/javascript")}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith(".") for part in name.split("/"))
        if hidden or path.suffix in (".br", ".gz") or not path.is_file():
            continue
        try:
            if path.stat().st_size > LARGEST:
                log.warning("too large to serve", extra={"fields": {"file": name}})
                continue
            packed = tuple(
                (encoding, beside.read_bytes())
                for encoding, suffix in ENCODINGS
                if (beside := path.with_name(path.name + suffix)).is_file()
            )
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            found["/" + name] = _file(
                path.read_bytes(), kind, packed, lasting=name.startswith("assets/")
            )
        except OSError as fault:
            log.warning("not served", extra={"fields": {"file": name, "error": str(fault)}})
    return found


def _file(
    body: bytes,
    kind: str,
    packed: tuple[tuple[str, bytes], ...] = (),
    lasting: bool = False,
) -> File:
    text = kind.startswith("text/") or kind in ("application/json", "application/javascript")
    etag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    return File(body, f"{kind}; charset=utf-8" if text else kind, etag, packed, lasting)
