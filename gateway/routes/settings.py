"""Settings, changed while the service runs; for the admin.

A key is never told: a mask stands for it, and a mask that comes back changes nothing. null takes a
change back, so that gateway.toml and the environment hold again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from chat.errors import BadRequest, GatewayError, NotFound, UpstreamError
from chat.request import Json
from dialects import reading
from gateway.overrides import LINES, Changes
from gateway.routes.access import require_admin
from gateway.routes.bodies import read_json
from gateway.services import SERVICES, Services
from gateway.settings import SettingsError
from providers import http1
from providers.guard import RefusedAddressError, resolve_public

LONGEST_KEY = 4096
LONGEST_URL = 2048
TEST_S = 10.0
SHOWN = 4
"""Last characters of a key that its mask shows, where it is long enough."""
OPENAI = {"openai_api_key": "api_key", "openai_base_url": "base_url"}
"""Seed 003's fields, which are those of one provider."""
PROVIDER_FIELDS = ("api_key", "base_url")
ROUTE_FIELDS = ("threshold", "target_strong_share")


def register(app: web.Application) -> None:
    app.router.add_get("/settings", shown)
    app.router.add_post("/settings", changed)
    app.router.add_post("/settings/test", tested)


async def shown(request: web.Request) -> web.Response:
    require_admin(request)
    return _json(_told(request.app[SERVICES]))


async def changed(request: web.Request) -> web.Response:
    admin = require_admin(request)
    services = request.app[SERVICES]
    body = reading.body_object(await read_json(request))
    changes = _changes(services, body)
    await _guard(services, changes, "providers.{}.base_url" if "providers" in body else None)
    if changes:
        await _store(services, changes, admin.id)
        if not services.reload():
            raise GatewayError(services.warnings.get("settings", "The settings were not reloaded."))
    return _json(_told(services))


async def tested(request: web.Request) -> web.Response:
    """200 in any case: `ok` says whether the provider gave its models."""
    require_admin(request)
    services = request.app[SERVICES]
    body = reading.body_object(await read_json(request))
    _only(body, ("provider", *PROVIDER_FIELDS))
    name = reading.filled_text(body, "provider")
    _known(services, name, "provider")
    changes = _of_provider(services, name, body, "")
    await _guard(services, changes, "base_url")
    given = {path: value for path, value in changes.items() if value is not None}
    assert services.reloader is not None
    try:
        registry = services.reloader.trial({**services.overrides.values, **given})
    except ValueError as fault:
        raise BadRequest(str(fault)) from None
    if name not in registry.providers:
        return _json(
            {"ok": False, "provider": name, "detail": f"it is off: {registry.off[name].why}"}
        )
    began = time.monotonic()
    told: dict[str, Json] = {"ok": False, "provider": name}
    try:
        async with asyncio.timeout(TEST_S):
            models = await registry.providers[name].models()
        told |= {"ok": True, "models": len(models), "detail": f"It has {len(models)} models."}
    except UpstreamError as error:
        told |= {"detail": error.message, "status": error.upstream_status}
    except TimeoutError:
        told["detail"] = f"It gave no answer in {TEST_S:.0f} s."
    return _json(told | {"ms": round((time.monotonic() - began) * 1000, 1)})


async def _store(services: Services, changes: Changes, by: str) -> None:
    """Raises BadRequest when the settings cannot be so."""
    assert services.reloader is not None
    try:
        await services.overrides.change(changes, services.reloader.trial, by)
    except SettingsError as fault:
        raise GatewayError(str(fault)) from None
    except ValueError as fault:
        raise BadRequest(_first_line(fault)) from None
    except SQLAlchemyError:
        raise GatewayError("The settings could not be stored; nothing was changed.") from None


def _changes(services: Services, body: dict[str, Json]) -> dict[str, Any]:
    """What the body says, by path. Raises BadRequest."""
    _only(body, (*OPENAI, "providers", "routes"))
    found: dict[str, Any] = {}
    for spelled, field in OPENAI.items():
        if spelled in body:
            found |= _field(services, "openai", field, body[spelled], spelled)
    for name, row in (reading.optional_object(body, "providers") or {}).items():
        where = f"providers.{name[:50]}"
        _known(services, name, where)
        if not isinstance(row, dict):
            reading.bad(where, f"must be an object, not {reading.kind_of(row)}.")
        _only(row, PROVIDER_FIELDS, where + ".")
        found |= _of_provider(services, name, row, where + ".")
    for name, line in (reading.optional_object(body, "routes") or {}).items():
        where = f"routes.{name[:50]}"
        if name not in services.settings.routes:
            raise NotFound(f"{where} is no route here.", param=where)
        if not isinstance(line, dict):
            reading.bad(where, f"must be an object, not {reading.kind_of(line)}.")
        _only(line, ROUTE_FIELDS, where + ".")
        given = {field: reading.number(line, field, where + ".", low=0, high=1) for field in line}
        if sum(value is not None for value in given.values()) > 1:
            reading.bad(where, f"takes one of {' and '.join(ROUTE_FIELDS)}.")
        if any(value is not None for value in given.values()):
            # One line takes the place of the other that was set here.
            found |= {f"routes/{name}/{field}": None for field in ROUTE_FIELDS}
        found |= {f"routes/{name}/{field}": value for field, value in given.items()}
    return found


def _of_provider(
    services: Services, name: str, row: Mapping[str, Json], where: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in PROVIDER_FIELDS:
        if field in row:
            found |= _field(services, name, field, row[field], where + field)
    return found


def _field(services: Services, name: str, field: str, value: Json, param: str) -> dict[str, Any]:
    """Empty for a mask that came back."""
    text = reading.optional_text({param: value}, param)
    path = f"providers/{name}/{field}"
    if not text:
        return {path: None}
    if field == "base_url":
        return {path: _address(text, param)}
    if text == mask(_key_of(services, name)):
        return {}
    if len(text) > LONGEST_KEY:
        reading.bad(param, f"has {len(text)} characters; {LONGEST_KEY} pass.")
    if not (text.isascii() and text.isprintable()) or " " in text:
        reading.bad(param, "must be printable ASCII without blanks, as it goes into a header.")
    return {path: text}


def _address(text: str, param: str) -> str:
    """An address as a provider may have it; where it leads is looked at by _guard."""
    if len(text) > LONGEST_URL:
        reading.bad(param, f"has {len(text)} characters; {LONGEST_URL} pass.")
    if not (text.isascii() and text.isprintable()) or " " in text or "\\" in text:
        reading.bad(param, "must be printable ASCII without blanks.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        reading.bad(param, "is no address.")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        reading.bad(param, "must be http://host or https://host.")
    if parts.username is not None or parts.password is not None:
        reading.bad(param, "must have no user and no password in it.")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        reading.bad(param, "must have no query and no fragment.")
    return text.rstrip("/")


async def _guard(services: Services, changes: Changes, spelled: str | None) -> None:
    """Each address that is new is looked up. `spelled`: how the body writes it, {} standing for
    the provider; None is seed 003's way. Raises BadRequest."""
    assert services.reloader is not None
    allow = services.reloader.hosts()
    for path, value in changes.items():
        _, name, field = path.split("/", 2)
        if field != "base_url" or value is None:
            continue
        param = "openai_base_url" if spelled is None else spelled.format(name)
        try:
            where = await resolve_public(value, allow)
        except RefusedAddressError as fault:
            reading.bad(param, f"cannot be used: {fault}; [access] upstream_allow has exceptions.")
        # Each connection is held to it: a name may stand for another machine a moment later.
        services.client.guarded[http1.Origin(where.host, where.port, where.tls)] = allow


def _told(services: Services) -> dict[str, Json]:
    values = services.overrides.values
    known = {row["name"]: row for row in _providers(services, values)}
    openai = known.get("openai", {})
    return {
        "openai_api_key": openai.get("api_key"),
        "openai_base_url": openai.get("base_url"),
        "providers": known,
        "routes": {
            name: {
                **{field: getattr(route, field) for field in LINES},
                "changed": [field for field in ROUTE_FIELDS if f"routes/{name}/{field}" in values],
            }
            for name, route in services.settings.routes.items()
        },
        "version": services.overrides.version,
    }


def _providers(services: Services, values: Mapping[str, Any]) -> list[dict[str, Json]]:
    registry = services.registry
    found: list[dict[str, Json]] = []
    for name in (*registry.providers, *registry.off):
        on = registry.providers.get(name)
        seen = registry.health.get(name)
        told: dict[str, Json] = {
            "name": name,
            "on": on is not None,
            "api_key": mask(_key_of(services, name)),
            "base_url": on.row.base_url if on else values.get(f"providers/{name}/base_url"),
            "changed": [
                field for field in PROVIDER_FIELDS if f"providers/{name}/{field}" in values
            ],
        }
        if on is None:
            told["detail"] = registry.off[name].why
        elif seen is not None:
            told["status"] = seen.state
        found.append(told)
    return found


def _key_of(services: Services, name: str) -> str | None:
    on = services.registry.providers.get(name)
    if on is not None:
        return on.row.key
    stored: str | None = services.overrides.values.get(f"providers/{name}/api_key")
    return stored


def mask(key: str | None) -> str | None:
    """ "sk-abcdefgh1234" -> "••••1234"; a short key shows nothing."""
    if not key:
        return None
    return "••••" + (key[-SHOWN:] if len(key) >= 4 * SHOWN else "")


def _known(services: Services, name: str, param: str) -> None:
    registry = services.registry
    if name not in registry.providers and name not in registry.off:
        there = ", ".join([*registry.providers, *registry.off])
        raise NotFound(f"There is no provider {name[:50]!r}; there is {there}.", param=param)


def _only(body: Mapping[str, Json], names: tuple[str, ...], where: str = "") -> None:
    for name in body:
        if name not in names:
            reading.bad(where + name[:50], f"is no field here; there is {', '.join(names)}.")


def _first_line(fault: ValueError) -> str:
    """Without the value, which may be a key."""
    return (str(fault).splitlines() or ["The settings cannot be so."])[0]


def _json(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
