"""The HTTP service: POST /classify, POST /complete, GET /model, /healthz and /metrics."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web

from classifier import artefact, embedding, explain, monitor, operate, settings
from classifier.artefact import Artefact, ArtefactError
from classifier.bodies import (
    EITHER,
    SINGLE,
    BadRequest,
    error_body,
    parse,
    wants_explanation,
    wants_models,
)
from classifier.features import extract
from classifier.settings import Settings
from classifier.shadow import Decided, Shadow
from classifier.shelf import ShelfError
from classifier.watch import Refusal, Sight, Watch, look

JSON = {"Content-Type": "application/json"}
EXPOSITION = {"Content-Type": "text/plain; version=1.0.0; charset=utf-8"}
BREATH = 16
LOG = logging.getLogger("gunicorn.error")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """What the handlers share: the model that serves, and what keeps it up to date.

    `model` is one reference, exchanged in one step: who has read it keeps the old model to the
    end of his answer.
    """

    def __init__(self, model: Artefact, chosen: Settings, sight: Sight) -> None:
        self.model = model
        self.settings = chosen
        self.shadow = Shadow()
        self.watch = Watch(chosen.serving, sight, self._use, self._refuse)
        self.shadow_watch: Watch | None = None
        if chosen.shadow is not None:
            candidate = chosen.shadow
            self.shadow_watch = Watch(lambda: candidate, None, self._use_shadow, self._no_shadow)
        self._models = {"local": chosen.local_model, "strong": chosen.strong_model}
        self._tally = monitor.Tally()
        self._loop: asyncio.AbstractEventLoop | None = None

    def _use(self, fresh: Artefact) -> None:
        before, self.model = self.model, fresh
        monitor.serves(fresh.name, fresh.version, (before.name, before.version))
        LOG.warning("classifier: %s serves, instead of %s", fresh.version, before.version)

    def _refuse(self, refusal: Refusal) -> None:
        monitor.refused("active")
        LOG.error("classifier: %s serves on; %s", self.model.version, refusal.error)

    def _use_shadow(self, fresh: Artefact) -> None:
        self.shadow.model = fresh
        monitor.shadow_serves()
        LOG.warning("classifier: %s scores as a shadow", fresh.version)

    def _no_shadow(self, refusal: Refusal) -> None:
        monitor.refused("shadow")
        LOG.error("classifier: no such shadow; %s", refusal.error)

    async def current(self) -> None:
        """Before the first answer: a worker forked late may hold what served at the start."""
        await self.watch.check()
        if self.shadow_watch is not None:
            await self.shadow_watch.check()

    async def background(self, _: web.Application) -> AsyncIterator[None]:
        """What runs beside the answers, from the start of the worker to its end."""
        tasks = [asyncio.create_task(self.watch.run())]
        if self.shadow_watch is not None:
            tasks.append(asyncio.create_task(self.shadow_watch.run()))
            tasks.append(asyncio.create_task(self.shadow.run()))
        self._loop = asyncio.get_running_loop()
        yield
        self._loop = None
        self._tally.write()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def classify(self, message: str, model: Artefact | None = None) -> dict[str, Any]:
        """Score one prompt and say which tier the default threshold gives it."""
        model = model or self.model
        start = time.perf_counter()
        scored = model.scorer(message)
        score = scored.score
        tier = model.tier(score)
        percentile = model.percentile(score)
        seconds = time.perf_counter() - start
        first = self._tally.add(tier, scored.domain, scored.out_of_distribution, seconds)
        if first and self._loop is not None:
            self._loop.call_later(monitor.LAG, self._tally.write)
        elif first:
            self._tally.write()
        if self.shadow.model is not None:
            self.shadow.saw(Decided(message, model.version, score, tier))
        return {
            "tier": tier,
            "model": self._models[tier],
            "score": score,
            "percentile": percentile,
            "domain": scored.domain,
            "confidence": score if tier == "local" else 1.0 - score,
            "tiers": {"local": score, "strong": scored.strong},
            "gain": scored.gain,
            "length": max(round(scored.length), 1),
            "sure": scored.sure,
            "ood": scored.out_of_distribution,
            "out_of_distribution": scored.out_of_distribution,
            "version": model.version,
            "milliseconds": int(seconds * 1e7) / 1e4,  # round() would cost as much as the dict.
        }

    async def at_length(self, message: str, *, models: bool, why: bool) -> dict[str, Any]:
        """The answer, with each known model's chance, and with what moved it, found in a thread."""
        model = self.model
        answer = self.classify(message, model)
        if models:
            answer["models"] = model.scorer.chances(extract(message, embedding.load()))
        if why:
            answer["explanation"] = await asyncio.to_thread(explain.explain, model, message)
        return answer

    async def classify_route(self, request: web.Request) -> web.Response:
        """POST /classify: one message, or a batch of messages."""
        if "?" in request.raw_path:
            models, why = wants_models(request.query), wants_explanation(request.query)
            if models or why:
                asked = parse(await request.read(), SINGLE)
                answer = await self.at_length(asked.messages[0], models=models, why=why)
                return web.Response(body=orjson.dumps(answer), headers=JSON)
        asked = parse(await request.read(), EITHER)
        if not asked.batch:
            return web.Response(body=orjson.dumps(self.classify(asked.messages[0])), headers=JSON)
        start = time.perf_counter()
        model = self.model  # One model for the whole batch, whatever is promoted meanwhile.
        results = []
        for i, message in enumerate(asked.messages):
            results.append(self.classify(message, model))
            if i % BREATH == BREATH - 1:  # A batch must not hold up single requests.
                await asyncio.sleep(0)
        milliseconds = round((time.perf_counter() - start) * 1e3, 4)
        whole = {"results": results, "version": model.version, "milliseconds": milliseconds}
        return web.Response(body=orjson.dumps(whole), headers=JSON)

    async def complete_route(self, request: web.Request) -> web.Response:
        """POST /complete: the same question by its older name; the answer's `model` counts."""
        asked = parse(await request.read(), SINGLE)
        return web.Response(body=orjson.dumps(self.classify(asked.messages[0])), headers=JSON)

    async def model_route(self, _: web.Request) -> web.Response:
        """GET /model: what a policy needs to know of the model that serves.

        thresholds: 101 scores; the one at place i sends i % of the reference prompts to the strong
        tier, who score below it.
        """
        model = self.model
        body = {
            "version": model.version,
            "default_threshold": model.threshold,
            "tiers": {"local": self._models["local"], "strong": self._models["strong"]},
            "thresholds": model.thresholds(),
            "domains": model.scorer.domains,
            "experts": model.scorer.experts,
            "models": model.scorer.models,
            "prior": model.card.get("prior"),
        }
        return web.Response(body=orjson.dumps(body), headers=JSON)

    async def card_route(self, _: web.Request) -> web.Response:
        """GET /card: the card of the model that serves."""
        return web.Response(body=orjson.dumps(self.model.card), headers=JSON)

    async def promote_route(self, request: web.Request) -> web.Response:
        return await operate.promote_route(request, self.settings)

    async def rollback_route(self, request: web.Request) -> web.Response:
        return await operate.rollback_route(request, self.settings)

    async def health_route(self, _: web.Request) -> web.Response:
        """GET /healthz: what serves. The golden prompts were re-scored when it was loaded.

        `refused` says why the artefact on disk does not serve instead; null when it does.
        """
        model = self.model
        body: dict[str, Any] = {
            "status": "ok",
            "version": model.version,
            "sha256": model.digest,
            "golden": "ok",
            "worker": os.getpid(),
            "refused": self.watch.refusal,
            "shadow": None,
        }
        if self.shadow_watch is not None:
            candidate = self.shadow.model
            body["shadow"] = {
                "version": candidate.version if candidate else None,
                "refused": self.shadow_watch.refusal,
            }
        return web.Response(body=orjson.dumps(body), headers=JSON)

    async def metrics_route(self, _: web.Request) -> web.Response:
        """GET /metrics: counted over all workers; read in a thread, for it reads files.

        It waits until every worker has written what was decided before it was asked.
        """
        await asyncio.sleep(2 * monitor.LAG)
        return web.Response(body=await asyncio.to_thread(monitor.scrape), headers=EXPOSITION)


PATHS = frozenset(
    {"/classify", "/complete", "/model", "/card", "/promote", "/rollback", "/healthz", "/metrics"}
)


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
    sight = look(chosen.serving)
    if sight.folder is None:
        raise ShelfError(sight.trouble)
    try:
        return Service(artefact.load(sight.folder), chosen, sight)
    except ArtefactError as error:
        if sight.folder.parent != chosen.models:
            raise
        raise type(error)(f"{error} To go back: `python -m classifier rollback`.") from error


def build_app(service: Service) -> web.Application:
    """The application with its routes."""
    app = web.Application(middlewares=[in_json], client_max_size=service.settings.largest_body)
    app.cleanup_ctx.append(service.background)
    app.router.add_post("/classify", service.classify_route)
    app.router.add_post("/complete", service.complete_route)
    app.router.add_get("/model", service.model_route)
    app.router.add_get("/card", service.card_route)
    app.router.add_post("/promote", service.promote_route)
    app.router.add_post("/rollback", service.rollback_route)
    app.router.add_get("/healthz", service.health_route)
    app.router.add_get("/metrics", service.metrics_route)
    return app


async def create() -> web.AppRunner:
    """What each gunicorn worker calls after the fork."""
    service = prepared()
    monitor.serves(service.model.name, service.model.version)
    await service.current()
    return web.AppRunner(
        build_app(service),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=10,
        keepalive_timeout=75,
    )
