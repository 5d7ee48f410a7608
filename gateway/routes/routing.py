"""For operators: what the classifier is, what it does to the traffic, and why it said what it said.

Everything of the classifier is asked over HTTP. What it does not serve is left out, and told.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import Mapping

import orjson
from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from chat.errors import GatewayError, UpstreamError
from chat.request import Json
from dialects import reading
from gateway.ledger.usage import Asked, savings
from gateway.monitor.card import curve, drift
from gateway.routes.access import require_admin
from gateway.routes.bodies import read_json
from gateway.routes.live import HUB
from gateway.services import SERVICES, Services
from providers import http1

ANSWER_S = 5.0
EXPLAIN_S = 20.0
MAX_ANSWER = 8 * 2**20
RECENT = 50
COST_DAYS = 30
ROUTE = ("threshold", "target_strong_share", "min_quality", "max_cost", "explore")
DECISION = ("request_id", "at", "route", "score", "tier", "domain", "target")
SAMPLE = re.compile(r"^classifier_shadow_(\w+?)(?:_total)?{([^}]*)} ([0-9.eE+-]+|NaN)$", re.M)
JSON_TYPE = b"Content-Type: application/json\r\n"


class NotServed(GatewayError):
    """The classifier has no such door."""

    status = 501
    kind = "not_found"


def register(app: web.Application) -> None:
    app.router.add_get("/routing", routing)
    app.router.add_post("/routing/explain", explain)
    app.router.add_post("/routing/promote", promote)
    app.router.add_post("/routing/rollback", rollback)


async def routing(request: web.Request) -> web.Response:
    require_admin(request)
    services, hub = request.app[SERVICES], request.app[HUB]
    (health, trouble), (card, _), (metrics, _) = await asyncio.gather(
        _looked(services, "/healthz"), _looked(services, "/card"), _looked(services, "/metrics")
    )
    classifier = health if isinstance(health, dict) else None
    if classifier is not None and isinstance(classifier.get("shadow"), dict):
        classifier["shadow"].update(_shadow(metrics if isinstance(metrics, str) else ""))
    card = card if isinstance(card, dict) else None
    recent = [row for row in hub.seen(None) if row["tier"] is not None][:RECENT]
    kept = await services.feedback.prompts([row["request_id"] for row in recent])
    return _json(
        {
            "classifier": classifier,
            "classifier_error": None if classifier is not None else trouble,
            "card": card,
            "curve": None if card is None else await _priced(services, curve(card)),
            "routes": {name: _route(services, name, hub.decided) for name in _names(services)},
            "scores": hub.scores,
            "drift": drift(card, hub.scores) if card is not None else None,
            "recent": [_decision(row, kept.get(row["request_id"])) for row in recent],
        }
    )


async def _priced(
    services: Services, points: list[dict[str, Json]] | None
) -> list[dict[str, Json]] | None:
    """`cost` of a point: dollars for a thousand questions as the last days had them, by what each
    end of the line would have taken for them. None where that is not known."""
    if not points:
        return points
    today = datetime.datetime.now(datetime.UTC).date()
    days = Asked(today - datetime.timedelta(days=COST_DAYS), today)
    try:
        total = (await savings(services.database, days))["total"]
    except SQLAlchemyError:
        return points
    unknown = total["always_local_unpriced"] or total["always_strong_unpriced"]
    if unknown or not total["answers"] or total["always_strong"] is None:
        return points
    low, high = (
        float(total[f"always_{end}"]) * 1000 / total["answers"] for end in ("local", "strong")
    )
    return [
        {**point, "cost": round(low + (high - low) * point["strong_share"], 6)} for point in points
    ]


async def explain(request: web.Request) -> web.Response:
    """The classifier's answer to a prompt, and what moved it."""
    require_admin(request)
    body = reading.body_object(await read_json(request))
    for field in body:
        if field != "message":
            reading.bad(field[:50], "is not a field here; there is message.")
    message = reading.filled_text(body, "message")
    if not message.strip():
        reading.bad("message", "must not be empty.")
    status, told = await _asked(
        request.app[SERVICES], "/classify?explain=true", {"message": message}, EXPLAIN_S
    )
    if status != 200:
        raise _failure(status, told)
    return _json(told)


async def promote(request: web.Request) -> web.Response:
    return await _change(request, "/promote", "make promote")


async def rollback(request: web.Request) -> web.Response:
    return await _change(request, "/rollback", "make rollback")


async def _change(request: web.Request, path: str, command: str) -> web.Response:
    require_admin(request)
    body = reading.body_object(await read_json(request) if request.body_exists else {})
    status, told = await _asked(request.app[SERVICES], path, body, EXPLAIN_S)
    if status in (404, 405):
        raise NotServed(
            f"This classifier does not let itself be changed over HTTP. On its machine, "
            f"`{command}` does it, and it serves the other model without a restart.",
            code="not_over_http",
        )
    if status != 200:
        raise _failure(status, told)
    return _json(told)


def _decision(row: Mapping[str, Json], prompt: str | None) -> dict[str, Json]:
    return {**{field: row[field] for field in DECISION}, "prompt": prompt}


def _route(
    services: Services, name: str, decided: Mapping[str, Mapping[str, int]]
) -> dict[str, Json]:
    settings = services.settings.routes[name]
    counts = decided.get(name, {})
    total = sum(counts.values())
    tiers = {
        tier: [target.name for target in targets]
        for tier, targets in services.router.tiers(name).items()
    }
    return {
        **tiers,
        "tiers": list(tiers),
        **{field: getattr(settings, field, None) for field in ROUTE},
        "strong_share": round(counts.get("strong", 0) / total, 4) if total else None,
        "shares": {tier: round(count / total, 4) for tier, count in counts.items()},
        "decided": total,
    }


def _names(services: Services) -> list[str]:
    return list(services.settings.routes)


def _shadow(metrics: str) -> dict[str, Json]:
    """What the classifier counted of its candidate, over the pair that was seen last."""
    found: dict[str, Json] = {
        "agreement": None,
        "mean_absolute_difference": None,
        "compared": None,
    }
    for name, labels, value in SAMPLE.findall(metrics):
        number = float(value)
        if name == "agreement":
            found["agreement"] = number
        elif name == "mean_absolute_difference":
            found["mean_absolute_difference"] = number
        elif name == "decisions" and "shadow_tier" in labels:
            found["compared"] = (found["compared"] or 0) + int(number)
    return found


async def _looked(services: Services, path: str) -> tuple[Json, str | None]:
    """(body, None), or (None, why not)."""
    try:
        status, told = await _asked(services, path, None, ANSWER_S)
    except UpstreamError as error:
        return None, error.message
    if status != 200:
        return None, f"The classifier answered {path} with HTTP {status}."
    return told, None


async def _asked(services: Services, path: str, body: Json, limit_s: float) -> tuple[int, Json]:
    """Status and body: JSON, or text where it is none. Raises UpstreamError."""
    where = http1.address(services.settings.classifier.url.rstrip("/") + path)
    sent = b"" if body is None else orjson.dumps(body)
    try:
        async with asyncio.timeout(limit_s):
            answer = await services.client.ask(
                "GET" if body is None else "POST", where, JSON_TYPE, sent, idle_s=limit_s * 2
            )
            try:
                raw = await answer.read()
                while not answer.ended and len(raw) < MAX_ANSWER:
                    raw += await answer.read()
            finally:
                answer.let_go()
    except TimeoutError:
        raise UpstreamError(f"The classifier gave no answer in {limit_s:.0f} s.") from None
    except http1.Fault:
        raise UpstreamError("The classifier cannot be reached.") from None
    try:
        return answer.status, orjson.loads(raw)
    except orjson.JSONDecodeError:
        return answer.status, raw.decode("utf-8", "replace")


def _failure(status: int, told: Json) -> GatewayError:
    error = told.get("error") if isinstance(told, dict) else None
    words = error.get("message") if isinstance(error, dict) else None
    failure = UpstreamError(f"The classifier refused: {words or f'HTTP {status}'}")
    if 400 <= status < 500:
        failure.status = status
    return failure


def _json(body: Json) -> web.Response:
    return web.Response(
        body=orjson.dumps(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", "Vary": "Accept"},
    )
