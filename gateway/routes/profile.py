"""Who sits before the page, as he says it himself: seed 003's profile, one for each caller.

Whoever holds a code or the admin token reads and writes his own, and nobody another's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import orjson
from aiohttp import web
from sqlalchemy import select

from chat.errors import NotIdentified
from chat.request import Json
from dialects import reading
from gateway.accounts.identity import CHALLENGE, UNNAMED
from gateway.middleware import CALLER
from gateway.routes.bodies import read_json
from gateway.services import SERVICES
from gateway.store.tables.settings import PROFILES
from gateway.store.upsert import insert_into

LONGEST_NAME = 200
LONGEST_EMAIL = 254
EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,188}")
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}")
THEMES = ("", "system", "light", "dark")
"""Empty: never chosen."""
FIELDS = ("display_name", "email", "theme", "language")


def register(app: web.Application) -> None:
    app.router.add_get("/profile", profile)
    app.router.add_post("/profile", changed)


async def profile(request: web.Request) -> web.Response:
    wanted = select(PROFILES).where(PROFILES.c.caller_id == _own(request))
    async with request.app[SERVICES].database.read() as connection:
        row = (await connection.execute(wanted)).mappings().first()
    return _json({name: row[name] if row else "" for name in FIELDS})


async def changed(request: web.Request) -> web.Response:
    """A field that is left out stays as it is."""
    caller = _own(request)
    given = _fields(reading.body_object(await read_json(request)))
    database = request.app[SERVICES].database
    now = {**given, "changed_at": time.time()}
    # One statement: two that come at once, of two fields, are both kept.
    write = (
        insert_into(PROFILES, is_sqlite=database.is_sqlite)
        .values({"caller_id": caller, **dict.fromkeys(FIELDS, ""), **now})
        .on_conflict_do_update(index_elements=[PROFILES.c.caller_id], set_=now)
        .returning(*(PROFILES.c[name] for name in FIELDS))
    )
    async with database.begin() as connection:
        kept = (await connection.execute(write)).mappings().one()
    return _json({name: kept[name] for name in FIELDS})


def _own(request: web.Request) -> str:
    """The id of whoever asks. Raises NotIdentified: where nobody signs in all are the same one, and
    would read each other's address."""
    caller = request[CALLER]
    if caller.id in UNNAMED:
        failure = NotIdentified("A profile is somebody's: sign in with an app code.")
        failure.headers = CHALLENGE
        raise failure
    return caller.id


def _fields(body: Mapping[str, Json]) -> dict[str, str]:
    """Raises BadRequest."""
    found: dict[str, str] = {}
    for name in body:
        if name not in FIELDS:
            reading.bad(name[:50], f"is no field here; there is {', '.join(FIELDS)}.")
        text = reading.optional_text(body, name)
        if text is not None:
            found[name] = _line(text, name)
    if found.get("email") and not EMAIL.fullmatch(found["email"]):
        reading.bad("email", "must be an e-mail address, as name@example.org.")
    if found.get("theme", "") not in THEMES:
        reading.bad("theme", "must be system, light or dark.")
    if found.get("language") and not LANGUAGE.fullmatch(found["language"]):
        reading.bad("language", "must be a language's tag, as de-DE.")
    return found


def _line(text: str, param: str) -> str:
    text = text.strip()
    longest = LONGEST_EMAIL if param == "email" else LONGEST_NAME
    if len(text) > longest:
        reading.bad(param, f"has {len(text)} characters; {longest} pass.")
    if not text.isprintable():
        reading.bad(param, "must be one line of printable characters.")
    return text


def _json(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
