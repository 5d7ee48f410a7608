"""The honest floor: what any proxy on aiohttp and uvloop pays before it does anything.

    python -m bench.proxy --port N --upstream http://127.0.0.1:M

One ClientSession, connections kept alive on both sides, the answer passed on as it is read.
No JSON, no log, no metric.
"""

import argparse
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import web

UPSTREAM = web.AppKey("UPSTREAM", str)
SESSION = web.AppKey("SESSION", aiohttp.ClientSession)


async def forward(request: web.Request) -> web.StreamResponse:
    """Ask the upstream the same and stream its answer back."""
    body = await request.read()
    async with request.app[SESSION].request(
        request.method,
        request.app[UPSTREAM] + request.path_qs,
        data=body or None,
        headers={"Content-Type": request.headers.get("Content-Type", "application/json")},
    ) as answer:
        response = web.StreamResponse(status=answer.status)
        response.content_type = answer.content_type
        response.content_length = answer.content_length
        await response.prepare(request)
        async for data in answer.content.iter_any():
            await response.write(data)
        await response.write_eof()
        return response


async def session(app: web.Application) -> AsyncIterator[None]:
    """The one pool of upstream connections, for as long as the app lives."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, auto_decompress=False
    ) as opened:
        app[SESSION] = opened
        yield


def build_app(upstream: str) -> web.Application:
    """An app that forwards every path to `upstream` (scheme, host and port)."""
    app = web.Application()
    app[UPSTREAM] = upstream
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="http://127.0.0.1:PORT")
    asked = parser.parse_args()
    web.run_app(
        build_app(asked.upstream),
        host="127.0.0.1",
        port=asked.port,
        access_log=None,
        print=None,
        handler_cancellation=True,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
