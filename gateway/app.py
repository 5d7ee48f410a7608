"""build_app(): the only place that knows every part."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp import web

from gateway import slow_heads
from gateway.accounts.accounts import Accounts
from gateway.accounts.codebook import CodeBook
from gateway.accounts.identity import ADMIN, Identity
from gateway.accounts.limits import Limits
from gateway.accounts.metering import Metering
from gateway.cache.answers import Answers, shelf_of
from gateway.cache.items import MAX_BYTES, Items
from gateway.cache.shelf import MemoryShelf
from gateway.direct import Whole
from gateway.engine.attempts import Walker
from gateway.engine.cooldown import CooldownTable
from gateway.engine.learned import Learned
from gateway.engine.pipeline import Pipeline
from gateway.engine.ports import OPEN, Caller
from gateway.engine.pressure import Pressure
from gateway.engine.routing import Router
from gateway.feedback.keeper import FeedbackKeeper
from gateway.jobs.gate import Gates
from gateway.jobs.line_redis import RedisLine
from gateway.jobs.service import Jobs, queue_for
from gateway.ledger.ledger import Ledger
from gateway.ledger.prices import Prices
from gateway.ledger.rows import Ends
from gateway.middleware import Early, door
from gateway.monitor.access import AccessLog
from gateway.monitor.metrics import Metrics
from gateway.monitor.recorder import MetricsRecorder
from gateway.origins import Origins
from gateway.overrides import Overrides
from gateway.place import ALONE, Place
from gateway.reload import Reloader, registry_of, router_of
from gateway.rests.around import RestsAround
from gateway.rests.shared import SharedRests
from gateway.routes import (
    ai_request,
    chat,
    codes,
    counting,
    embeddings,
    event_source,
    feedback,
    gemini,
    jobs,
    live,
    models,
    ollama,
    openapi,
    ops,
    page,
    profile,
    responses,
    routing,
    seeds,
    sockets,
    usage,
)
from gateway.routes import settings as settings_routes
from gateway.routes.access import identify_by
from gateway.routes.languages import dialect_of
from gateway.routes.live import hub
from gateway.routes.outgoing import mark_by
from gateway.routes.sockets import answers
from gateway.sealing import Sealer
from gateway.services import SERVICES, STANDING, ProviderDirectory, Services, Standing
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.redis import connect
from gateway.store.watch import Watch
from gateway.turnstile import Runner
from providers import http1
from providers import registry as providers

if TYPE_CHECKING:
    from redis.asyncio import Redis

LOOK_AGAIN_S = 30.0
PAGE_METHODS = ("GET", "HEAD")


def build_app(
    settings: Settings,
    environment: Mapping[str, str] = os.environ,
    looked: Callable[[Services], None] | None = None,
    access: AccessLog | None = None,
    place: Place = ALONE,
) -> web.Application:
    """The application. `looked` is called when every upstream was looked at for the first time.

    Raises providers.registry.CatalogError for a provider that cannot be; its start raises
    StoreError for a database that cannot be used.
    """
    providers.rows(settings.providers, environment)
    app = web.Application(client_max_size=settings.server.body_limit)
    app[STANDING] = standing = Standing()
    for part in (
        ai_request,
        chat,
        codes,
        gemini,
        jobs,
        live,
        models,
        ollama,
        counting,
        embeddings,
        event_source,
        responses,
        seeds,
        feedback,
        openapi,
        ops,
        routing,
        sockets,
        usage,
        settings_routes,
        profile,
    ):
        part.register(app)
    page.register(app, settings.web.dist)
    app.middlewares.append(
        door(
            dialect_of,
            identify_by(standing),
            early(app[page.SITE], standing),
            mark_by(app),
            access.visited if access is not None else None,
        )
    )

    async def parts(app: web.Application) -> AsyncGenerator[None, None]:
        client = http1.Client()
        database = Database(settings.store.database)
        redis = connect(settings.store.redis)
        try:
            await database.open()
            services = _services(settings, client, environment, access, database, redis, place)
            app[SERVICES] = standing.services = services
            Reloader(services, lambda: (settings, environment))
            await services.overrides.load()
            if services.overrides.values:
                services.reload()
            services.overrides.watch(services.watch, services.reload)
            await services.accounts.start()
            await services.metering.start()
            services.feedback.start()
            services.rests.start()
            services.ledger.start()
            services.pressure.start()
            await services.jobs.start()
            services.watch.start()
            looking = asyncio.create_task(_look(services, looked))
            yield
            await services.jobs.close()
            await services.gates.close()
            services.pressure.stop()
            await services.rests.close()
            await services.feedback.close()
            await services.accounts.close()
            await services.metering.close()
            await services.watch.close()
            await services.answers.close()
            await services.items.close()
            await services.ledger.close()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        finally:
            await client.close()
            if redis is not None:
                await redis.aclose()
            await database.close()

    async def drain(app: web.Application) -> None:
        """The listener is closed already. Open answers may end by themselves for a while; those
        that do not are told, just before the runner would cut them. Who has a connection may ask
        once more while half of the time is left (leaving.py)."""
        services = app[SERVICES]
        services.draining = True
        loop = asyncio.get_running_loop()
        loop.call_later(settings.server.drain_s / 2, setattr, services, "late", True)
        wait = settings.server.drain_s - min(1.0, settings.server.drain_s / 4)
        services.jobs.drain(wait)
        loop.call_later(wait, services.pipeline.interrupt)

    app.cleanup_ctx.append(parts)
    app.cleanup_ctx.append(answers)
    app.cleanup_ctx.append(hub)
    app.on_shutdown.append(drain)
    return app


def build_runner(app: web.Application, settings: Settings) -> Runner:
    """The production runner. Without handler_cancellation a caller who hangs up would leave his
    upstream streaming to nobody (STACK 3)."""
    runner = Runner(
        app,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=75,
        # aiohttp waits this long twice before it cancels a handler (STACK 1).
        shutdown_timeout=settings.server.drain_s / 2,
    )

    async def heads(app: web.Application) -> AsyncGenerator[None, None]:
        limit = slow_heads.watch(runner, lambda: app[SERVICES].settings.server.head_s)
        watching = asyncio.create_task(limit)
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    app.cleanup_ctx.append(heads)
    return runner


def _services(
    settings: Settings,
    client: http1.Client,
    environment: Mapping[str, str],
    access: AccessLog | None,
    database: Database,
    redis: Redis | None,
    place: Place,
) -> Services:
    registry = registry_of(settings, client, environment)
    # The directory is another one after a reload.
    metrics = Metrics(lambda provider, model: services.directory.is_known(provider, model))
    recorder = MetricsRecorder(metrics)
    if access is not None:
        recorder.books.append(access.add)
    directory = ProviderDirectory(registry)
    prices = Prices(settings.prices)
    learned = Learned()
    router = router_of(settings, directory, client, recorder, learned, prices)
    table = CooldownTable(settings.cooldown, time.monotonic)
    rests: CooldownTable | RestsAround = table
    if redis is not None:
        rests = SharedRests(table, redis)
    elif place.rests is not None:
        rests = place.rests.of(place.worker, table)
    walker = Walker(settings.attempts, rests, recorder, time.monotonic, learned)
    warnings: dict[str, str] = {}
    bell = place.bells.of(place.worker) if place.bells is not None else None
    watch = Watch(database)
    accounts = Accounts(settings, CodeBook(database), watch, redis, warnings, bell=bell)
    metering = Metering(
        accounts, database, redis, place.board, place.worker, flush=lambda: services.ledger.flush()
    )
    limits = Limits(accounts, metering.counts, prices)
    pressure = Pressure(settings.server)
    metrics.shed.set_function(lambda: pressure.shed)
    answers_kept = Answers(lambda: services.settings, shelf_of(settings, redis))
    line = place.lines.of(place.worker) if place.lines is not None else None
    gates = Gates(lambda: services.settings, line=line if redis is None else RedisLine(redis))
    pipeline = Pipeline(
        router,
        walker,
        recorder,
        message_limit=settings.server.message_limit,
        max_messages=settings.server.max_messages,
        pressure=pressure,
        admission=limits,
        answers=answers_kept,
        turns=gates,
    )
    # Read when it is scraped, instead of counted up and down with each request.
    metrics.in_flight.set_function(lambda: len(pipeline.running))
    keeper = FeedbackKeeper(settings.feedback, database)
    keeper.counted = lambda value, tier: metrics.feedback.labels(value, tier).inc()
    keeper.catch_up = recorder.write
    recorder.books.append(keeper.settled)
    ledger = Ledger(
        database,
        settings.ledger,
        metrics,
        warnings,
        prices,
        lambda route: ends_of(services.router, route),
        catch_up=recorder.write,
    )
    recorder.books.append(ledger.settled)
    work = Jobs(
        queue_for(settings.jobs, database, redis),
        pipeline,
        settings.jobs,
        lambda app_id: caller_named(accounts, app_id),
        metrics.jobs,
        pace_of=accounts.pace_of,
    )
    work.watch(watch)
    services = Services(
        settings=settings,
        client=client,
        registry=registry,
        directory=directory,
        router=router,
        pipeline=pipeline,
        metrics=metrics,
        rests=rests,
        accounts=accounts,
        limits=limits,
        metering=metering,
        identity=Identity(accounts),
        warnings=warnings,
        feedback=keeper,
        pressure=pressure,
        origins=Origins(
            settings.access.cors,
            lambda: not accounts.required and accounts.access.open == "auto",
        ),
        recorder=recorder,
        prices=prices,
        ledger=ledger,
        jobs=work,
        gates=gates,
        answers=answers_kept,
        items=Items(MemoryShelf(MAX_BYTES) if place.shelf is None else place.shelf, redis),
        overrides=Overrides(database, Sealer(settings.store), warnings),
        database=database,
        watch=watch,
        redis=redis,
        started=time.monotonic(),
        at_start=settings,
    )
    return services


def early(site: page.Site, standing: Standing) -> Early:
    """Pages and their files are anybody's; of the rest, what another site's page may not ask."""

    def answer(request: web.Request) -> web.StreamResponse | None:
        if type(request) is Whole:
            standing.services.origins.check(request)
            return None
        if request.method in PAGE_METHODS and (found := page.shown(site, request)) is not None:
            return found
        return standing.services.origins.preflight(request)

    return answer


def caller_named(accounts: Accounts, app_id: str) -> Caller | None:
    """Who a kept id stands for now; None for an app code that was revoked."""
    if app_id in (OPEN.id, ADMIN.id):
        return OPEN if app_id == OPEN.id else ADMIN
    app = accounts.app(app_id)
    return None if app is None else app.caller


def ends_of(router: Router, route: str) -> Ends:
    """The first target of a route's weakest tier and of its strongest."""
    asked = [targets[0] for targets in router.tiers(route).values() if targets]
    if not asked:
        return None, None
    weak, strong = asked[0], asked[-1]
    return (weak.provider.name, weak.model), (strong.provider.name, strong.model)


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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S):
                await services.changed.wait()
        services.changed.clear()
