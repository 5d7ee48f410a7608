"""App codes and the admin token in the database.

Each change raises a version, by which other processes see that they must read again. Who changes
holds the version's row, so changes stand in a line on PostgreSQL, too.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, delete, insert, select, update

from gateway.accounts import secret
from gateway.settings import SettingsError
from gateway.store.core import AsyncConnection
from gateway.store.database import Database
from gateway.store.tables.codes import CODES, SECRETS, STATE
from gateway.store.upsert import insert_into
from gateway.terms import SeedTerms, Terms

VERSION = "codes"
ADMIN = "admin_token"
SETTINGS = "settings"
ADMINISTRATOR = "admin"


@dataclass(frozen=True, slots=True)
class Secret:
    digest: bytes
    prefix: str
    created_at: float
    ends_at: float | None


@dataclass(frozen=True, slots=True)
class Code:
    """Times are seconds since 1970."""

    id: str
    terms: Terms
    origin: str
    """settings or admin."""
    created_at: float
    revoked_at: float | None = None
    revoked_by: str | None = None
    secrets: tuple[Secret, ...] = ()
    """The newest first."""


@dataclass(frozen=True, slots=True)
class Book:
    """Everything, as it was at one version."""

    version: int
    codes: Mapping[str, Code]
    admin: bytes | None
    """The admin token's digest."""


class CodeBook:
    def __init__(self, database: Database, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now

    @property
    def number(self) -> ColumnElement[int]:
        """The version, for who watches the database."""
        return select(STATE.c.version).where(STATE.c.name == VERSION).scalar_subquery()

    async def read(self) -> Book:
        async with self._database.read() as connection:
            return await _book(connection)

    async def create(self, terms: Terms) -> tuple[Code, str]:
        """The new code, and the secret that is not kept."""
        given, now = secret.new_code(), self._now()
        kept = Secret(secret.digest(given), secret.shown(given), now, None)
        code = Code(secrets.token_hex(8), terms, ADMINISTRATOR, now, secrets=(kept,))
        async with self._changing() as connection:
            await _add(connection, code)
        return code, given

    async def change(self, id_: str, terms: Callable[[Code], Terms]) -> Code | None:
        """`terms` is given the code as it stands, and may raise. None when there is none."""
        async with self._changing() as connection:
            code = (await _book(connection)).codes.get(id_)
            if code is None:
                return None
            changed = replace(code, terms=terms(code))
            await connection.execute(
                update(CODES).where(CODES.c.id == id_).values(terms=_json(changed.terms))
            )
            return changed

    async def rotate(
        self, id_: str, grace_s: float, may: Callable[[Code], None]
    ) -> tuple[Code, str] | None:
        """A new secret; the older ones hold for `grace_s` more seconds. `may` may raise."""
        given, now = secret.new_code(), self._now()
        kept = Secret(secret.digest(given), secret.shown(given), now, None)
        async with self._changing() as connection:
            code = (await _book(connection)).codes.get(id_)
            if code is None:
                return None
            may(code)
            ends = now + grace_s
            older = [_ending(one, ends) for one in code.secrets]
            for one in older:
                await connection.execute(
                    update(SECRETS)
                    .where(SECRETS.c.digest == one.digest.hex())
                    .values(ends_at=one.ends_at)
                )
            await connection.execute(insert(SECRETS).values(_row(id_, kept)))
            return replace(code, secrets=(kept, *older)), given

    async def revoke(self, id_: str) -> Code | None:
        """For good; a second time changes nothing."""
        async with self._changing() as connection:
            code = (await _book(connection)).codes.get(id_)
            if code is None or code.revoked_by == ADMINISTRATOR:
                return code
            await _revoke(connection, id_, self._now(), ADMINISTRATOR)
            return replace(code, revoked_at=self._now(), revoked_by=ADMINISTRATOR)

    async def seed(self, seeds: Mapping[str, SeedTerms]) -> bool:
        """Makes the codes of the settings stand as they say. Whether anything changed. Raises
        SettingsError for a code that is another's."""
        wanted = {seed_id(name): name for name in seeds}
        async with self._changing(always=False) as connection:
            book = await _book(connection)
            changed = False
            for id_, code in book.codes.items():
                if code.origin == SETTINGS and id_ not in wanted and code.revoked_at is None:
                    await _revoke(connection, id_, self._now(), SETTINGS)
                    changed = True
            for id_, name in wanted.items():
                code = self._of_seed(id_, name, seeds[name], book.codes.get(id_))
                if code == book.codes.get(id_):
                    continue
                _is_free(book, code, name)
                await _forget(connection, id_)
                await _add(connection, code)
                book = replace(book, codes={**book.codes, id_: code})
                changed = True
            if changed:
                await _raise(connection)
            return changed

    async def set_admin(self, digest: bytes, *, replace_it: bool) -> bool:
        """False when there is one already and it stays."""
        async with self._changing() as connection:
            if replace_it:
                await connection.execute(delete(STATE).where(STATE.c.name == ADMIN))
            elif (await _book(connection)).admin is not None:
                return False
            values = {"name": ADMIN, "value": digest.hex(), "version": 0}
            await connection.execute(insert(STATE).values(values))
            return True

    def _of_seed(self, id_: str, name: str, given: SeedTerms, known: Code | None) -> Code:
        if given.hash:
            digest, prefix = bytes.fromhex(given.hash.removeprefix("sha256:")), ""
        else:
            code = given.code or name
            digest, prefix = secret.digest(code), secret.shown(code)
        now = self._now()
        began = known.created_at if known else now
        kept = Secret(digest, prefix, began, None)
        code_now = Code(id_, given.terms(name), SETTINGS, began, secrets=(kept,))
        if known is not None and known.revoked_by == ADMINISTRATOR:
            return replace(code_now, revoked_at=known.revoked_at, revoked_by=ADMINISTRATOR)
        return code_now

    @asynccontextmanager
    async def _changing(self, *, always: bool = True) -> AsyncGenerator[AsyncConnection, None]:
        """A transaction in which nobody else changes the book."""
        made = insert_into(STATE, is_sqlite=self._database.is_sqlite)
        first = made.values(name=VERSION, value="", version=0).on_conflict_do_nothing()
        async with self._database.begin() as connection:
            await connection.execute(first)
            await _raise(connection, by=1 if always else 0)
            yield connection


def seed_id(name: str) -> str:
    """The same at every start; the name itself may be a code, and is not shown."""
    return "toml-" + hashlib.sha256(name.encode()).hexdigest()[:16]


def _is_free(book: Book, code: Code, name: str) -> None:
    """Raises SettingsError when another code has this secret."""
    digest = code.secrets[0].digest
    for other in book.codes.values():
        if other.id != code.id and any(one.digest == digest for one in other.secrets):
            raise SettingsError(f"codes.{name}: another app code is the same")


def _ending(kept: Secret, ends: float) -> Secret:
    return replace(kept, ends_at=ends if kept.ends_at is None else min(kept.ends_at, ends))


async def _book(connection: AsyncConnection) -> Book:
    # The version first: what changes after it is read again with the next one.
    state = {row.name: row for row in await connection.execute(select(STATE))}
    kept: dict[str, list[Secret]] = {}
    newest_first = select(SECRETS).order_by(SECRETS.c.created_at.desc(), SECRETS.c.digest)
    for row in await connection.execute(newest_first):
        one = Secret(bytes.fromhex(row.digest), row.prefix, row.created_at, row.ends_at)
        kept.setdefault(row.code_id, []).append(one)
    codes = {
        row.id: Code(
            row.id,
            Terms.model_validate_json(row.terms),
            row.origin,
            row.created_at,
            row.revoked_at,
            row.revoked_by,
            tuple(kept.get(row.id, ())),
        )
        for row in await connection.execute(select(CODES).order_by(CODES.c.created_at, CODES.c.id))
    }
    admin = state.get(ADMIN)
    return Book(
        version=state[VERSION].version if VERSION in state else 0,
        codes=codes,
        admin=bytes.fromhex(admin.value) if admin is not None else None,
    )


async def _raise(connection: AsyncConnection, by: int = 1) -> None:
    await connection.execute(
        update(STATE).where(STATE.c.name == VERSION).values(version=STATE.c.version + by)
    )


async def _revoke(connection: AsyncConnection, id_: str, at: float, by: str) -> None:
    await connection.execute(
        update(CODES).where(CODES.c.id == id_).values(revoked_at=at, revoked_by=by)
    )


async def _add(connection: AsyncConnection, code: Code) -> None:
    await connection.execute(
        insert(CODES).values(
            id=code.id,
            terms=_json(code.terms),
            origin=code.origin,
            created_at=code.created_at,
            revoked_at=code.revoked_at,
            revoked_by=code.revoked_by,
        )
    )
    await connection.execute(insert(SECRETS).values([_row(code.id, one) for one in code.secrets]))


async def _forget(connection: AsyncConnection, id_: str) -> None:
    await connection.execute(delete(SECRETS).where(SECRETS.c.code_id == id_))
    await connection.execute(delete(CODES).where(CODES.c.id == id_))


def _json(terms: Terms) -> str:
    return terms.model_dump_json(exclude_defaults=True)


def _row(id_: str, kept: Secret) -> dict[str, object]:
    return {
        "digest": kept.digest.hex(),
        "code_id": id_,
        "prefix": kept.prefix,
        "created_at": kept.created_at,
        "ends_at": kept.ends_at,
    }
