"""GET /openapi.json: every door. GET /docs shows it in Swagger UI: see page.py."""

from __future__ import annotations

from aiohttp import web

from gateway.openapi.document import as_bytes


def register(app: web.Application) -> None:
    app.router.add_get("/openapi.json", openapi)


async def openapi(request: web.Request) -> web.Response:
    return web.Response(
        body=as_bytes(), content_type="application/json", headers={"Cache-Control": "no-cache"}
    )
