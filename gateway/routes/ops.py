"""For operators: health, readiness, metrics, the models there are."""

from __future__ import annotations

import asyncio
import time

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.routes.access import require_metrics
from gateway.services import SERVICES, Services
from gateway.version import VERSION


def register(app: web.Application) -> None:
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


async def healthz(request: web.Request) -> web.Response:
    """The process lives."""
    return _json({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 when requests may come; 503, with why, while stopping or with nobody to ask."""
    services = request.app[SERVICES]
    problems = list(services.problems)
    if services.draining:
        problems.append("draining")
    if not any(services.router.tiers("auto").values()):
        problems.append("no provider of the route auto is on")
    return _json(
        {
            "status": "not ready" if problems else "ready",
            "problems": problems,
            "warnings": list(services.warnings.values()),
        },
        503 if problems else 200,
    )


async def health(request: web.Request) -> web.Response:
    """Who is on, what the last look at each upstream gave, and who is off and why."""
    services = request.app[SERVICES]
    queue = await services.jobs.now()
    return _json(
        {
            "status": "draining" if services.draining else "healthy",
            "version": VERSION,
            "uptime": uptime(time.monotonic() - services.started),
            "queue_size": queue.waiting,
            "active_workers": queue.slots,
            "together_ai_status": _state(services, "together"),
            "providers": _providers(services),
            "routes": {
                name: {
                    tier: [target.name for target in targets]
                    for tier, targets in services.router.tiers(name).items()
                }
                for name in services.settings.routes
            },
        }
    )


async def metrics(request: web.Request) -> web.Response:
    require_metrics(request)
    services = request.app[SERVICES]
    services.recorder.write()
    body = await asyncio.to_thread(services.metrics.render)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def uptime(seconds: float) -> str:
    """182130 -> "2d 2h 35m", as seed 002 writes it; under a minute "42s"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    words = [
        f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if count
    ]
    return " ".join(words) or f"{rest}s"


def _state(services: Services, name: str) -> str:
    """connected, or why it is not: off, checking, denied, unreachable, ..."""
    if name not in services.registry.providers:
        return "off"
    seen = services.registry.health.get(name)
    return seen.state if seen else "checking"


def _providers(services: Services) -> dict[str, dict[str, object]]:
    registry = services.registry
    found: dict[str, dict[str, object]] = {}
    for name in registry.providers:
        seen = registry.health.get(name)
        found[name] = {
            "on": True,
            "status": seen.state if seen else "checking",
            **({"detail": seen.detail} if seen and seen.detail else {}),
        }
    for name, off in registry.off.items():
        found[name] = {"on": False, "status": "off", "detail": off.why}
    return found
