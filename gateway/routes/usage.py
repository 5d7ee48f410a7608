"""What was used and what it cost: GET /usage and GET /usage/savings.

A caller sees his own rows, the admin everybody's. Without keys the callers on this machine see
what was asked without a key.
"""

from __future__ import annotations

import csv
import datetime
import io
import ipaddress
import re
from typing import Any

import orjson
from aiohttp import web

from chat.errors import NotAllowed, NotIdentified
from dialects import reading
from gateway.ledger import usage
from gateway.middleware import CALLER
from gateway.services import SERVICES

DAYS = 30
"""Without `from`: so many, today included."""
LONGEST_DAYS = 3660
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
FORMATS = ("json", "csv")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is run by a spreadsheet; models' names are the callers' own words."""


def register(app: web.Application) -> None:
    app.router.add_get("/usage", used)
    app.router.add_get("/usage/savings", saved)


async def used(request: web.Request) -> web.Response:
    _only(request, ("by", "from", "to", "app", "format"))
    asked = _asked(request)
    format_ = request.query.get("format")
    if format_ is not None and format_ not in FORMATS:
        reading.bad("format", f"must be json or csv, not {format_[:50]!r}.")
    if format_ is None and "text/csv" in request.headers.get("Accept", ""):
        format_ = "csv"
    found = await usage.usage(request.app[SERVICES].database, asked)
    if format_ == "csv":
        name = f"usage-{found['from']}-{found['to']}.csv"
        return web.Response(
            body=_csv(found["rows"]).encode(),
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{name}"',
            },
        )
    return _json(found)


async def saved(request: web.Request) -> web.Response:
    _only(request, ("from", "to", "app"))
    return _json(await usage.savings(request.app[SERVICES].database, _asked(request)))


def _asked(request: web.Request) -> usage.Asked:
    query = request.query
    today = datetime.datetime.now(datetime.UTC).date()
    last = _date(query.get("to"), "to") or today
    first = _date(query.get("from"), "from")
    if first is None:
        first = max(last, datetime.date(1970, 2, 1)) - datetime.timedelta(days=DAYS - 1)
    if first > last:
        reading.bad("from", f"must not be later than to, {last.isoformat()}.")
    if (last - first).days > LONGEST_DAYS:
        reading.bad("from", f"must be at most {LONGEST_DAYS} days before to.")
    by = tuple(dict.fromkeys(query.get("by", "day").split(",")))
    for name in by:
        if name not in usage.GROUPS:
            reading.bad("by", f"must be of {', '.join(usage.GROUPS)}, not {name[:50]!r}.")
    return usage.Asked(first, last, _whose(request), by)


def _whose(request: web.Request) -> str | None:
    """The id of the app whose rows are shown; None for all. Raises NotAllowed."""
    caller, app = request[CALLER], request.query.get("app")
    # PostgreSQL knows no null characters.
    if app is not None and (not 1 <= len(app) <= 64 or "\0" in app):
        reading.bad("app", "must be the id of an app, of 1 to 64 characters.")
    if caller.admin:
        return app
    if caller.id == "open" and not _is_here(request.remote):
        raise NotIdentified("This needs an app code or the admin token, as a Bearer.")
    if app not in (None, caller.id):
        raise NotAllowed("An app sees its own usage; this needs the admin token.")
    return caller.id


def _is_here(remote: str | None) -> bool:
    try:
        return ipaddress.ip_address(remote or "").is_loopback
    except ValueError:
        return False


def _date(text: str | None, field: str) -> datetime.date | None:
    if text is None:
        return None
    try:
        # The library takes other forms, too.
        if not DATE.fullmatch(text):
            raise ValueError
        found = datetime.date.fromisoformat(text)
    except ValueError:
        reading.bad(field, f"must be a day as 2026-11-21, not {text[:50]!r}.")
    if not 1970 <= found.year < 9999:
        reading.bad(field, "must be a day of this era.")
    return found


def _only(request: web.Request, names: tuple[str, ...]) -> None:
    for name in request.query:
        if name not in names:
            reading.bad(name[:50], f"is no parameter here; there is {', '.join(names)}.")
        if len(request.query.getall(name)) > 1:
            reading.bad(name, "stands there more than once.")


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA) else value


def _json(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
