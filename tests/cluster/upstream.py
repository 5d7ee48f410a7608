"""An upstream in a process of its own: python -m tests.cluster.upstream HOST PORT

Model `slow` takes a while, `bad` fails, any other answers at once; each answer has OUT tokens and
repeats the question. GET /seen tells what was asked and what was answered whole.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import orjson
from aiohttp import web

OUT = 1000
SLOW_S = 0.4


def app() -> web.Application:
    asked: list[str] = []
    answered: list[str] = []

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model, words = body["model"], str(body["messages"][-1]["content"])
        asked.append(f"{model} {words}")
        if model == "bad":
            return web.json_response({"error": {"message": "ill"}}, status=500)
        if model == "slow":
            await asyncio.sleep(SLOW_S)
        told = _stream(words) if body.get("stream") else _whole(words)
        kind = "text/event-stream" if body.get("stream") else "application/json"
        answered.append(f"{model} {words}")
        return web.Response(body=told, content_type=kind)

    async def seen(request: web.Request) -> web.Response:
        return web.json_response({"asked": asked, "answered": answered})

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in ("m", "slow", "bad")]})

    made = web.Application()
    made.router.add_post("/v1/chat/completions", chat)
    made.router.add_get("/v1/models", models)
    made.router.add_get("/seen", seen)
    return made


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 3, "completion_tokens": OUT, "total_tokens": 3 + OUT}


def _whole(words: str) -> bytes:
    message = {"role": "assistant", "content": words}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    return orjson.dumps({**head, "choices": [choice], "usage": _usage()})


def _stream(words: str) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    frames: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": words}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": _usage()},
    ]
    lines = [b"data: " + orjson.dumps({**head, **frame}) + b"\n\n" for frame in frames]
    return b"".join([*lines, b"data: [DONE]\n\n"])


if __name__ == "__main__":
    web.run_app(app(), host=sys.argv[1], port=int(sys.argv[2]), print=None)
