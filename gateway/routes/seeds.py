"""Doors of frontends that were here before the gateway, with the shapes that they know.

POST /chat/{provider}: an SSE stream from the provider's default model, then from its fallback
models; the stream names the model, and a `model` that the frontend sends is not heard.
POST /chat/completions/stream: OpenAI's chat completions, always as a stream; there and at
POST /chat/completions a field `provider` may name the provider.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from aiohttp import web

from chat.errors import NotFound
from chat.request import Json
from chat.trace import Trace
from dialects import reading
from dialects.complete import CompleteDialect
from dialects.openai import OpenAiDialect
from gateway.engine.ports import Asked
from gateway.middleware import REQUEST_ID
from gateway.routes.bodies import read_json
from gateway.routes.chat import answered, serve_chat
from gateway.services import SERVICES, Services
from providers.base import HttpProvider

NAMES: Mapping[str, str] = {"gpt": "openai", "claude": "anthropic"}
"""What these frontends call a provider, where it is not its name here."""
COMPLETE = CompleteDialect()
OPENAI = OpenAiDialect()


def register(app: web.Application) -> None:
    app.router.add_post("/chat/completions", serve_chat(app, OPENAI, provider_named))
    app.router.add_post("/chat/completions/stream", serve_chat(app, OPENAI, streamed))
    app.router.add_post("/chat/{provider}", chat)
    app.router.add_get("/health/{provider}", health)


async def chat(request: web.Request) -> web.StreamResponse:
    provider = _provider(request)
    models = _models(provider)
    if not models:
        raise NotFound(f"The provider {provider.name!r} has no default model.", param="provider")
    body = reading.body_object(await read_json(request))
    names = [f"{provider.name}/{model}" for model in models]
    question = {**body, "model": names[0]}
    asked = Asked(COMPLETE, COMPLETE.parse_request(question), question, tuple(names[1:]))
    return await answered(request.app[SERVICES], request, asked, Trace(request[REQUEST_ID]))


async def health(request: web.Request) -> web.Response:
    """200 when the provider answered at the last look, else 503 and why not."""
    services = request.app[SERVICES]
    asked = request.match_info["provider"]
    name = NAMES.get(asked, asked)
    off = services.registry.off.get(name)
    if off is not None:
        told: dict[str, Json] = {"status": "off", "provider": asked, "detail": off.why}
        return _json(told, 503)
    provider = _provider(request)
    seen = services.registry.health.get(provider.name)
    well = seen is None or seen.state in ("connected", "unchecked")
    told = {
        "status": "healthy" if well else "unhealthy",
        "provider": asked,
        "upstream": seen.state if seen else "checking",
        "model": provider.row.default_model,
        "fallback_models": list(provider.row.fallback_models),
    }
    if seen and seen.detail:
        told["detail"] = seen.detail
    return _json(told, 200 if well else 503)


def provider_named(request: web.Request, body: Json) -> Json:
    """A `provider` beside the model, as a string; OpenRouter's object of that name passes."""
    if not isinstance(body, dict) or not isinstance(body.get("provider"), str):
        return body
    services = request.app[SERVICES]
    name = body.pop("provider")
    model = body.get("model")
    if name not in services.registry.providers and name not in services.registry.off:
        known = ", ".join(services.registry.providers)
        reading.bad("provider", f"must be one of {known}, not {name[:50]!r}.")
    if name in services.registry.off:
        why = services.registry.off[name].why
        raise NotFound(f"The provider {name!r} is off: {why}.", param="provider")
    if not model:
        model = services.registry.providers[name].row.default_model
    if isinstance(model, str) and not model.startswith(name + "/"):
        model = f"{name}/{model}"
    body["model"] = model
    return body


def streamed(request: web.Request, body: Json) -> Json:
    if isinstance(body, dict):
        body["stream"] = True
    return provider_named(request, body)


def _provider(request: web.Request) -> HttpProvider:
    """Raises NotFound, which names the providers there are."""
    services: Services = request.app[SERVICES]
    asked = request.match_info["provider"]
    name = NAMES.get(asked, asked)
    provider = services.registry.providers.get(name)
    if provider is not None:
        return provider
    off = services.registry.off.get(name)
    if off is not None:
        raise NotFound(f"The provider {asked!r} is off: {off.why}.", code="provider_off")
    there = [alias for alias, name in NAMES.items() if name in services.registry.providers]
    there += services.registry.providers
    raise NotFound(
        f"There is no provider {asked[:50]!r}; there is {', '.join(there)}.",
        param="provider",
        code="provider_not_found",
    )


def _models(provider: HttpProvider) -> list[str]:
    """The default one first, each once."""
    names = (provider.row.default_model, *provider.row.fallback_models)
    return list(dict.fromkeys(name for name in names if name))


def _json(body: Json, status: int) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
