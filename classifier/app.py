"""The HTTP service: POST /classify, POST /complete, GET /healthz, GET /metrics."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web

from classifier import artefact, monitor, settings
from classifier.artefact import Artefact
from classifier.bodies import EITHER, SINGLE, BadRequest, error_body, parse
from classifier.settings import Settings

JSON = {"Content-Type": "application/json"}
EXPOSITION = {"Content-Type": "text/plain; version=1.0.0; charset=utf-8"}
BREATH = 16

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """What the handlers share: the verified artefact and the names of the tiers' models."""

    def __init__(self, model: Artefact, chosen: Settings) -> None:
        self.model = model
        self.settings = chosen
        self._models = {"local": chosen.local_model, "strong": chosen.strong_model}

    def classify(self, message: str) -> dict[str, Any]:
        """Score one prompt and say which tier the default threshold gives it."""
        start = time.perf_counter()
        scored = self.model.scorer(message)
        score = scored.score
        tier = "local" if score >= self.model.threshold else "strong"
        percentile = self.model.percentile(score)
        seconds = time.perf_counter() - start
        monitor.decided(tier, scored.domain, scored.out_of_distribution, seconds)
        return {
            "tier": tier,
            "model": self._models[tier],
            "score": score,
            "percentile": percentile,
            "domain": scored.domain,
            "confidence": score if tier == "local" else 1.0 - score,
            "out_of_distribution": scored.out_of_distribution,
            "version": self.model.version,
            "milliseconds": round(seconds * 1e3, 4),
        }

    async def classify_route(self, request: web.Request) -> web.Response:
        """POST /classify: one message, or a batch of messages."""
        asked = parse(await request.read(), EITHER)
        if not asked.batch:
            return web.Response(body=orjson.dumps(self.classify(asked.messages[0])), headers=JSON)
        start = time.perf_counter()
        results = []
        for i, message in enumerate(asked.messages):
            results.append(self.classify(message))
            if i % BREATH == BREATH - 1:  # A batch must not hold up single requests.
                await asyncio.sleep(0)
        milliseconds = round((time.perf_counter() - start) * 1e3, 4)
        whole = {"results": results, "version": self.model.version, "milliseconds": milliseconds}
        return web.Response(body=orjson.dumps(whole), headers=JSON)

    async def complete_route(self, request: web.Request) -> web.Response:
        """POST /complete: the same question by its older name; the answer's `model` counts."""
        asked = parse(await request.read(), SINGLE)
        return web.Response(body=orjson.dumps(self.classify(asked.messages[0])), headers=JSON)

    async def health_route(self, _: web.Request) -> web.Response:
        """GET /healthz: what serves. The golden prompts were re-scored when it was loaded."""
        body = {
            "status": "ok",
            "version": self.model.version,
            "sha256": self.model.digest,
            "golden": "ok",
            "worker": os.getpid(),
        }
        return web.Response(body=orjson.dumps(body), headers=JSON)

    async def metrics_route(self, _: web.Request) -> web.Response:
        """GET /metrics: counted over all workers; read in a thread, for it reads files."""
        return web.Response(body=await asyncio.to_thread(monitor.scrape), headers=EXPOSITION)


PATHS = frozenset({"/classify", "/complete", "/healthz", "/metrics"})


@web.middleware
async def in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal is JSON, every answer is counted."""
    path = request.path if request.path in PATHS else "other"
    try:
        response = await handler(request)
    except BadRequest as error:
        response = web.Response(status=error.status, body=error.body(), headers=JSON)
    except web.HTTPRequestEntityTooLarge:
        limit = request.client_max_size
        body = error_body(f"The body is larger than {limit} bytes.")
        response = web.Response(status=413, body=body, headers=JSON)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        body = error_body(f"{request.method} is not allowed here; allowed: {allowed}.")
        response = web.Response(status=405, body=body, headers={**JSON, "Allow": allowed})
    except web.HTTPNotFound:
        body = error_body("No such path.", kind="not_found_error")
        response = web.Response(status=404, body=body, headers=JSON)
    except web.HTTPException as error:
        body = error_body(error.reason)
        response = web.Response(status=error.status, body=body, headers=JSON)
    except web.RequestPayloadError:
        body = error_body("The body cannot be read: it is cut, or its encoding is broken.")
        response = web.Response(status=400, body=body, headers=JSON)
    monitor.answered(path, response.status)
    return response


@lru_cache(maxsize=1)
def prepared() -> Service:
    """The service of this process; gunicorn's master makes it once, before it forks."""
    chosen = settings.from_environment(os.environ)
    return Service(artefact.load(chosen.artefact), chosen)


def build_app(service: Service) -> web.Application:
    """The application with its four routes."""
    app = web.Application(middlewares=[in_json], client_max_size=service.settings.largest_body)
    app.router.add_post("/classify", service.classify_route)
    app.router.add_post("/complete", service.complete_route)
    app.router.add_get("/healthz", service.health_route)
    app.router.add_get("/metrics", service.metrics_route)
    return app


async def create() -> web.AppRunner:
    """What each gunicorn worker calls after the fork."""
    service = prepared()
    monitor.serves(str(service.model.card["name"]), service.model.version)
    return web.AppRunner(
        build_app(service),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=10,
        keepalive_timeout=75,
    )
