"""build_app(): the only place that knows every part."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping

from aiohttp import web

from gateway.classifier_client import HttpClassifier
from gateway.engine.attempts import Walker
from gateway.engine.cooldown import CooldownTable
from gateway.engine.pipeline import Pipeline
from gateway.engine.routing import Router
from gateway.middleware import door
from gateway.monitor.access import AccessLog
from gateway.monitor.metrics import Metrics
from gateway.monitor.recorder import MetricsRecorder
from gateway.routes import chat, counting, embeddings, gemini, models, ollama, ops, seeds
from gateway.routes.languages import dialect_of
from gateway.services import SERVICES, ProviderDirectory, Services
from gateway.settings import Settings
from providers import http1
from providers import registry as providers

LOOK_AGAIN_S = 30.0


def build_app(
    settings: Settings,
    environment: Mapping[str, str] = os.environ,
    looked: Callable[[Services], None] | None = None,
    access: AccessLog | None = None,
) -> web.Application:
    """The application. `looked` is called when every upstream was looked at for the first time.

    Raises providers.registry.CatalogError for a provider that cannot be.
    """
    providers.rows(settings.providers, environment)
    app = web.Application(
        middlewares=[door(dialect_of)],
        client_max_size=settings.server.body_limit,
    )
    for part in (chat, gemini, models, ollama, counting, embeddings, seeds, ops):
        part.register(app)

    async def parts(app: web.Application) -> AsyncGenerator[None, None]:
        client = http1.Client()
        try:
            app[SERVICES] = services = _services(settings, client, environment, access)
            looking = asyncio.create_task(_look(services, looked))
            yield
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        finally:
            await client.close()

    async def drain(app: web.Application) -> None:
        """The listener is closed already. Open answers may end by themselves for a while; those
        that do not are told, just before the runner would cut them."""
        services = app[SERVICES]
        services.draining = True
        wait = settings.server.drain_s - min(1.0, settings.server.drain_s / 4)
        asyncio.get_running_loop().call_later(wait, services.pipeline.interrupt)

    app.cleanup_ctx.append(parts)
    app.on_shutdown.append(drain)
    return app


def build_runner(app: web.Application, settings: Settings) -> web.AppRunner:
    """The production runner. Without handler_cancellation a caller who hangs up would leave his
    upstream streaming to nobody (STACK 3)."""
    return web.AppRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=75,
        # aiohttp waits this long twice before it cancels a handler (STACK 1).
        shutdown_timeout=settings.server.drain_s / 2,
    )


def _services(
    settings: Settings,
    client: http1.Client,
    environment: Mapping[str, str],
    access: AccessLog | None,
) -> Services:
    registry = providers.build(
        settings.providers,
        client,
        environment=environment,
        limits={"idle_s": settings.attempts.idle_s, "one_shot_s": settings.attempts.one_shot_s},
    )
    directory = ProviderDirectory(registry)
    metrics = Metrics(directory.is_known)
    recorder = MetricsRecorder(metrics, access)
    router = Router(
        directory,
        settings.routes,
        settings.aliases,
        HttpClassifier(settings.classifier, client),
        recorder,
        settings.classifier.on_failure,
    )
    walker = Walker(
        settings.attempts,
        CooldownTable(settings.cooldown, time.monotonic),
        recorder,
        time.monotonic,
    )
    pipeline = Pipeline(router, walker, recorder, message_limit=settings.server.message_limit)
    # Read when it is scraped, instead of counted up and down with each request.
    metrics.in_flight.set_function(lambda: len(pipeline.running))
    return Services(
        settings=settings,
        client=client,
        registry=registry,
        directory=directory,
        router=router,
        pipeline=pipeline,
        metrics=metrics,
        started=time.monotonic(),
    )


async def _look(services: Services, looked: Callable[[Services], None] | None) -> None:
    """Looks at every upstream beside the service, now and again."""
    while True:
        await services.registry.look()
        services.directory.refresh()
        services.looked.set()
        services.router.refresh()
        if looked is not None:
            looked(services)
            looked = None
        await asyncio.sleep(LOOK_AGAIN_S)
