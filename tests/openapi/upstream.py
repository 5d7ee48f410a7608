"""An upstream that speaks OpenAI's language well, whatever it is asked."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from aiohttp import web

from tests.replay.gateway import settings
from tests.replay.server import answering, openai_body, openai_stream


async def _answer(request: web.Request) -> web.Response:
    if request.method != "POST":
        return web.json_response({"data": [{"id": "gpt-4o-mini"}]})
    body = orjson.loads(await request.read())
    if request.path.endswith("/embeddings"):
        count = len(body["input"]) if isinstance(body["input"], list) else 1
        rows = [{"object": "embedding", "index": n, "embedding": [0.5, 0.25]} for n in range(count)]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return web.json_response(
            {"object": "list", "data": rows, "model": body["model"], "usage": usage}
        )
    pieces = ("{", "}") if body.get("response_format") else ("Red", ", green")
    if body.get("stream"):
        return web.Response(body=openai_stream(*pieces), content_type="text/event-stream")
    return web.Response(body=openai_body("".join(pieces)), content_type="application/json")


def upstream() -> AbstractAsyncContextManager[str]:
    return answering(_answer)


def settings_with(url: str, **tree: Any) -> Any:
    row = {
        "kind": "openai",
        "base_url": url + "/v1",
        "api_key": "test",
        "default_model": "gpt-4o-mini",
    }
    return settings(
        providers={"openai": row},
        routes={"auto": {"local": ["openai/gpt-4o-mini"], "strong": ["openai/gpt-4o-mini"]}},
        **tree,
    )
