"""App codes, for operators: GET and POST /codes, and one of them by its id.

A secret is shown once, in the answer that made it. What stands in gateway.toml is changed there;
it can be revoked here all the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import orjson
from aiohttp import web

from chat.errors import GatewayError, NotFound
from chat.request import Json
from dialects import reading
from gateway.accounts.app import NANOS
from gateway.accounts.codebook import SETTINGS, Code
from gateway.accounts.meter import Need
from gateway.accounts.terms_of import changed, terms_of, words
from gateway.routes.access import require_admin
from gateway.routes.bodies import read_json
from gateway.services import SERVICES, Services
from gateway.terms import Terms

MAX_GRACE_S = 90 * 86_400
GRACE_S = "grace_s"


class Conflict(GatewayError):
    """It cannot be changed here."""

    status = 409
    kind = "bad_request"


def register(app: web.Application) -> None:
    app.router.add_get("/codes", every)
    app.router.add_post("/codes", create)
    app.router.add_get("/codes/{id}", one)
    app.router.add_patch("/codes/{id}", change)
    app.router.add_delete("/codes/{id}", revoke)
    app.router.add_post("/codes/{id}/rotate", rotate)


async def every(request: web.Request) -> web.Response:
    """The newest last; revoked ones too, as the ledger names them."""
    require_admin(request)
    services = request.app[SERVICES]
    # What another process changed a moment ago is here, too.
    await services.accounts.read()
    codes = services.accounts.codes.codes.values()
    return _json({"codes": [await shown(services, code) for code in codes]})


async def one(request: web.Request) -> web.Response:
    require_admin(request)
    services = request.app[SERVICES]
    await services.accounts.read()
    code = services.accounts.codes.codes.get(request.match_info["id"])
    return _json(await shown(services, _there(code, request)))


async def create(request: web.Request) -> web.Response:
    """201 with the secret as `code`, which is not kept."""
    require_admin(request)
    services = request.app[SERVICES]
    terms = terms_of(reading.body_object(await read_json(request)))
    code, secret = await services.accounts.book.create(terms)
    await services.accounts.changed()
    return _json({"code": secret, **await shown(services, code)}, 201)


async def change(request: web.Request) -> web.Response:
    """Takes the fields that become other ones; null takes a limit away."""
    require_admin(request)
    services = request.app[SERVICES]
    body = reading.body_object(await read_json(request))

    def terms(code: Code) -> Terms:
        _may_change(code)
        return changed(code.terms, body)

    code = await services.accounts.book.change(request.match_info["id"], terms)
    found = _there(code, request)
    await services.accounts.changed()
    return _json(await shown(services, found))


async def rotate(request: web.Request) -> web.Response:
    """A new secret; the older ones hold for `grace_s` more seconds, 0 without it."""
    require_admin(request)
    services = request.app[SERVICES]
    body = reading.body_object(await read_json(request) if request.body_exists else {})
    for field in body:
        if field != GRACE_S:
            reading.bad(field[:50], f"is not a field here; there is {GRACE_S}.")
    grace = reading.number(body, GRACE_S, low=0, high=MAX_GRACE_S) or 0.0
    id_ = request.match_info["id"]
    rotated = await services.accounts.book.rotate(id_, grace, _may_change)
    if rotated is None:
        raise _nobody(id_)
    await services.accounts.changed()
    code, secret = rotated
    return _json({"code": secret, **await shown(services, code)})


async def revoke(request: web.Request) -> web.Response:
    require_admin(request)
    services = request.app[SERVICES]
    code = _there(await services.accounts.book.revoke(request.match_info["id"]), request)
    await services.accounts.changed()
    return _json(await shown(services, code))


async def shown(services: Services, code: Code) -> dict[str, Json]:
    """A code without its secrets: of those their first characters."""
    standing = await services.metering.standing(code.id)
    return {
        "id": code.id,
        **words(code.terms),
        "origin": code.origin,
        "created_at": _moment(code.created_at),
        "revoked_at": _moment(code.revoked_at),
        "secrets": [
            {
                "prefix": one.prefix,
                "created_at": _moment(one.created_at),
                "ends_at": _moment(one.ends_at),
            }
            for one in code.secrets
        ],
        "used": {
            "running": standing.running,
            "day": _spent(standing.day),
            "month": _spent(standing.month),
        },
    }


def _spent(used: Need) -> dict[str, Json]:
    return {"cost": f"{Decimal(used.money) / NANOS:f}", "tokens": used.likely}


def _moment(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _may_change(code: Code) -> None:
    """Raises Conflict."""
    if code.origin == SETTINGS:
        raise Conflict("This app code stands in gateway.toml; change it there.", param="id")
    if code.revoked_at is not None:
        raise Conflict("This app code was revoked, for good; make another.", param="id")


def _there(code: Code | None, request: web.Request) -> Code:
    if code is None:
        raise _nobody(request.match_info["id"])
    return code


def _nobody(id_: str) -> NotFound:
    return NotFound(f"There is no app code with the id {id_[:50]!r}.", param="id")


def _json(body: Json, status: int = 200) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        # A secret is in some of them.
        headers={"Cache-Control": "no-store"},
    )
