"""Settings that were changed while the service runs: kept in the store, laid over gateway.toml.

A change is validated whole, stored with a version, and in use here at once; the store's watch tells
other processes. null takes a change back: gateway.toml holds again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from sqlalchemy import delete, insert, select

from gateway.sealing import Sealer
from gateway.settings import Route, Settings
from gateway.store.core import AsyncConnection
from gateway.store.database import Database
from gateway.store.tables.settings import OVERRIDES
from gateway.store.upsert import insert_into
from gateway.store.watch import Watch, Wish
from providers.registry import catalog

VERSION = ""
"""The row whose version is that of the whole."""
SECRET = ("api_key",)
LINES = ("threshold", "target_strong_share", "min_quality")
"""Of these a route has one: a change of one puts the others away."""
WARNING = "overrides"

Changes = Mapping[str, Any]
""" "providers/openai/api_key" -> value; None takes it back."""

log = logging.getLogger("pointsman.settings")


class Overrides:
    """`values`: what is laid over gateway.toml now, by path."""

    def __init__(self, database: Database, sealer: Sealer, warnings: dict[str, str]) -> None:
        self.values: dict[str, Any] = {}
        self.version = 0
        self._database = database
        self._sealer = sealer
        self._warnings = warnings

    async def load(self) -> None:
        """Reads them. Raises SQLAlchemyError."""
        async with self._database.read() as connection:
            self.values, self.version = await self._load(connection)

    def watch(self, watch: Watch, changed: Callable[[], object]) -> None:
        """Calls `changed` when another process changed them."""
        version = select(OVERRIDES.c.version).where(OVERRIDES.c.path == VERSION).scalar_subquery()

        async def heard(number: int) -> None:
            if number != self.version:
                await self.load()
                changed()

        watch.add(Wish(version, heard))

    async def change(self, changes: Changes, check: Callable[[Changes], object], by: str) -> None:
        """Stores all of them or none. `check` gets the whole as it would be, and raises
        ValueError when it cannot be. Two changes at a time wait for each other."""
        async with self._database.begin() as connection:
            now = time.time()
            version = await self._next(connection, now, by)
            stored, _ = await self._load(connection)
            values = {
                path: value for path, value in {**stored, **changes}.items() if value is not None
            }
            check(values)
            await connection.execute(delete(OVERRIDES).where(OVERRIDES.c.path.in_(list(changes))))
            rows = [
                self._row(path, value, version, now, by)
                for path, value in changes.items()
                if value is not None
            ]
            if rows:
                await connection.execute(insert(OVERRIDES), rows)
        self.values, self.version = values, version

    def over(self, settings: Settings) -> Settings:
        """`settings` with the changes over them. Raises ValueError."""
        return over(settings, self.values)

    async def _next(self, connection: AsyncConnection, now: float, by: str) -> int:
        """The version row's lock is what makes changes wait for each other."""
        made = insert_into(OVERRIDES, is_sqlite=self._database.is_sqlite)
        told = {"changed_at": now, "changed_by": by}
        counted = (
            made.values(path=VERSION, value="", secret=False, version=1, **told)
            .on_conflict_do_update(
                index_elements=["path"], set_={"version": OVERRIDES.c.version + 1, **told}
            )
            .returning(OVERRIDES.c.version)
        )
        return int((await connection.execute(counted)).scalar_one())

    async def _load(self, connection: AsyncConnection) -> tuple[dict[str, Any], int]:
        version = 0
        rows = (await connection.execute(select(OVERRIDES))).mappings().all()
        values: dict[str, Any] = {}
        lost: list[str] = []
        for row in rows:
            if row["path"] == VERSION:
                version = int(row["version"])
                continue
            try:
                text = self._sealer.open(row["value"]) if row["secret"] else row["value"]
                values[row["path"]] = orjson.loads(text)
            except ValueError:
                lost.append(row["path"])
        if lost:
            self._warnings[WARNING] = (
                f"These stored settings cannot be read, as store.secret_key is another one: "
                f"{', '.join(sorted(lost))}"
            )
        else:
            self._warnings.pop(WARNING, None)
        return values, version

    def _row(self, path: str, value: Any, version: int, now: float, by: str) -> dict[str, Any]:
        secret = path.endswith(SECRET)
        text = orjson.dumps(value).decode()
        return {
            "path": path,
            "value": self._sealer.seal(text) if secret else text,
            "secret": secret,
            "version": version,
            "changed_at": now,
            "changed_by": by,
        }


def over(settings: Settings, values: Changes) -> Settings:
    """`settings` with `values` over them; those of a route or a provider that is no more are left
    alone. Raises ValueError."""
    routes = dict(settings.routes)
    rows = dict(settings.providers)
    for path, value in values.items():
        kind, _, rest = path.partition("/")
        name, _, field = rest.rpartition("/")
        if kind == "routes" and name in routes:
            others = {line: None for line in LINES if field in LINES and line != field}
            tree = routes[name].model_dump() | others | {field: value}
            try:
                routes[name] = Route.model_validate(tree)
            except ValidationError as fault:
                words = fault.errors(include_url=False, include_input=False)[0]["msg"]
                raise ValueError(f"routes.{name}.{field}: {words}") from None
        elif kind == "providers" and (name in rows or name in catalog()):
            # An address of the environment's would win over the row's.
            own = {"base_url_env": ""} if field == "base_url" else {}
            rows[name] = {**rows.get(name, {}), **own, field: value}
    return settings.model_copy(update={"routes": routes, "providers": rows})
