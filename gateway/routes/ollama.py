"""What a client of Ollama asks besides chat: who is there, which models, what they can do.

Names carry a tag, as Ollama's do: Open WebUI finds no model without one.
"""

from __future__ import annotations

import hashlib
import time

import orjson
from aiohttp import web

from chat.errors import BadRequest, UpstreamError
from chat.request import Json
from dialects import reading
from dialects.ollama import load_reply
from gateway.engine.names import TAG
from gateway.middleware import CALLER
from gateway.routes.bodies import read_json
from gateway.routes.listing import Listed, found, listed, target_of
from gateway.services import SERVICES, Services
from providers.ollama import OllamaProvider

OLLAMA_VERSION = "0.12.6"
"""The version whose API this is. Clients compare it as numbers (PROTOCOLS 7.1)."""
RUNNING = "Ollama is running"
UNKNOWN_TIME = "1970-01-01T00:00:00Z"
ARCHITECTURE = "pointsman"
ORDER = ("completion", "tools", "vision", "thinking", "insert", "embedding", "image", "audio")


def register(app: web.Application) -> None:
    app.router.add_get("/", root)
    app.router.add_get("/api/version", version)
    app.router.add_get("/api/tags", tags)
    app.router.add_get("/api/ps", running)
    app.router.add_post("/api/show", show)
    app.router.add_post("/api/pull", pull)
    app.router.add_delete("/api/delete", kept_elsewhere)
    for path in ("/api/copy", "/api/create", "/api/push"):
        app.router.add_post(path, kept_elsewhere)


async def root(request: web.Request) -> web.Response:
    """Clients of Ollama look for this sentence. A browser gets the page: see page.py."""
    return web.Response(text=RUNNING, headers={"Vary": "Accept"})


async def version(request: web.Request) -> web.Response:
    return _json({"version": OLLAMA_VERSION})


async def tags(request: web.Request) -> web.Response:
    models = await listed(request.app[SERVICES], request[CALLER])
    return _json({"models": [_row(model) for model in models]})


async def running(request: web.Request) -> web.Response:
    """Nothing is held in memory here."""
    return _json({"models": []})


async def show(request: web.Request) -> web.Response:
    """Takes `model`, or `name` as older clients write it."""
    services = request.app[SERVICES]
    model = await found(services, await _named(request), request[CALLER])
    body = await _upstreams_own(services, model) or _made_up(model)
    info = body["model_info"] if isinstance(body.get("model_info"), dict) else {}
    # Copilot shows it in the model's place, so that several routes would look the same.
    info.pop("general.basename", None)
    body["model_info"] = info
    if not isinstance(body.get("capabilities"), list):
        body["capabilities"] = _capabilities(model)
    return _json(body)


async def pull(request: web.Request) -> web.Response:
    """A model that is there needs no pulling; another one cannot be had here."""
    await found(request.app[SERVICES], await _named(request), request[CALLER])
    return web.Response(body=b'{"status":"success"}\n', content_type="application/x-ndjson")


async def kept_elsewhere(request: web.Request) -> web.Response:
    """Whoever asks to delete, copy, make or push a model is told where it can be done."""
    raise BadRequest(
        f"{request.path} is not for a gateway: models are kept at their upstreams. Ask the Ollama "
        "that has the model.",
        code="unsupported",
    )


def loaded(services: Services, body: Json) -> Json | None:
    """The answer to a question that says nothing; None when it says something."""
    reply = load_reply(body, time.time)
    if reply is not None:
        target_of(services, reply["model"])
    return reply


async def _named(request: web.Request) -> str:
    body = reading.body_object(await read_json(request))
    return reading.optional_text(body, "model") or reading.text(
        {"model": reading.optional_text(body, "name")}, "model"
    )


async def _upstreams_own(services: Services, model: Listed) -> dict[str, Json] | None:
    provider = services.registry.providers.get(model.provider or "")
    if not isinstance(provider, OllamaProvider) or model.model is None:
        return None
    try:
        return await provider.show(model.model)
    except UpstreamError:
        # It may be starting; what is known of the model is better than a gap in a client's list.
        return None


def _made_up(model: Listed) -> dict[str, Json]:
    context = model.info.context
    return {
        "modelfile": f"# {model.name}, by way of Pointsman",
        "parameters": f"num_ctx                        {context}",
        "template": "{{ .Prompt }}",
        "details": _details(model),
        "model_info": {
            "general.architecture": ARCHITECTURE,
            f"{ARCHITECTURE}.context_length": context,
        },
        "capabilities": _capabilities(model),
        "modified_at": UNKNOWN_TIME,
    }


def _row(model: Listed) -> dict[str, Json]:
    said = model.info.details
    last = model.name.rpartition("/")[2]
    name = model.name if ":" in last else model.name + TAG
    return {
        "name": name,
        "model": name,
        "modified_at": said.get("modified_at") or UNKNOWN_TIME,
        "size": said.get("size") or 0,
        "digest": said.get("digest") or hashlib.sha256(model.name.encode()).hexdigest(),
        "details": said.get("details") or _details(model),
        "capabilities": _capabilities(model),
    }


def _details(model: Listed) -> dict[str, Json]:
    return {
        "parent_model": "",
        "format": "",
        "family": model.owner,
        "families": [model.owner],
        "parameter_size": "",
        "quantization_level": "",
    }


def _capabilities(model: Listed) -> list[str]:
    has = model.info.capabilities or frozenset()
    return [word for word in ORDER if word in has]


def _json(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
