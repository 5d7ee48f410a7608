"""The models there are. One body serves the clients of OpenAI, Anthropic and Gemini, since all
of them ask GET /v1/models (PROTOCOLS 2.5)."""

from __future__ import annotations

import orjson
from aiohttp import web

from chat.request import Json
from gateway.middleware import CALLER
from gateway.routes.listing import Listed, found, listed
from gateway.services import SERVICES

UNKNOWN_TIME = "1970-01-01T00:00:00Z"
"""What Anthropic's own API says where it does not know when a model was made."""
VERSIONS = ("v1", "v1beta", "v1alpha")
SEED_PROVIDERS = ("ollama", "openai")


def register(app: web.Application) -> None:
    app.router.add_get("/models", discovered)
    for version in VERSIONS:
        app.router.add_get(f"/{version}/models", every)
        # Names have slashes and colons in them, encoded or not.
        app.router.add_get(f"/{version}/models/{{name:.+}}", one)


async def every(request: web.Request) -> web.Response:
    return _json(whole(await listed(request.app[SERVICES], request[CALLER])))


async def one(request: web.Request) -> web.Response:
    model = await found(request.app[SERVICES], request.match_info["name"], request[CALLER])
    return _json({**_openai(model), **_gemini(model)})


async def discovered(request: web.Request) -> web.Response:
    """The names of Ollama's and OpenAI's models (seed 003), inside the same body."""
    models = await listed(request.app[SERVICES], request[CALLER])
    names = {
        provider: [model.model for model in models if model.name == f"{provider}/{model.model}"]
        for provider in SEED_PROVIDERS
    }
    return _json({**names, **whole(models)})


def whole(models: list[Listed]) -> Json:
    return {
        "object": "list",
        "data": [_openai(model) for model in models],
        "has_more": False,
        "first_id": models[0].name if models else None,
        "last_id": models[-1].name if models else None,
        "models": [_gemini(model) for model in models],
    }


def _openai(model: Listed) -> dict[str, Json]:
    """OpenAI's words and Anthropic's; the context also as OpenRouter and vLLM name it."""
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.owner,
        "type": "model",
        "display_name": model.name,
        "created_at": UNKNOWN_TIME,
        "context_length": model.info.context,
        "capabilities": sorted(model.info.capabilities or ()),
    }


def _gemini(model: Listed) -> dict[str, Json]:
    capabilities = model.info.capabilities or frozenset()
    methods = ["generateContent", "countTokens"] if "completion" in capabilities else []
    if "embedding" in capabilities:
        methods += ["embedContent", "batchEmbedContents"]
    return {
        "name": f"models/{model.name}",
        "displayName": model.name,
        "inputTokenLimit": model.info.context,
        "outputTokenLimit": model.info.output,
        "supportedGenerationMethods": methods,
    }


def _json(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
