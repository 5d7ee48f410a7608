"""python -m gateway codes create|list|change|rotate|revoke, and python -m gateway token --new

They change the database of the settings; a gateway that runs on it follows within a second, or at
once where there is a Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import orjson

from chat.errors import BadRequest
from gateway.accounts import secret
from gateway.accounts.accounts import announce
from gateway.accounts.codebook import SETTINGS, Code, CodeBook
from gateway.accounts.terms_of import changed, terms_of
from gateway.environment import Read
from gateway.store.database import Database, StoreError
from gateway.store.redis import connect
from gateway.terms import Terms

COMMANDS = ("codes", "token")

TEXTS = ("name", "rate_limit", "token_limit", "budget_day", "budget_month", "expires")
NUMBERS = ("max_tokens", "priority", "concurrency", "tokens_day", "tokens_month")
LISTS = ("allowed_request_types", "models")
HELP = {
    "rate_limit": 'requests, as "100/hour"',
    "token_limit": 'tokens, as "20000/minute"',
    "budget_day": "money a day",
    "budget_month": "money a month",
    "expires": "a moment, as 2027-01-31T00:00:00Z",
    "max_tokens": "longest answer",
    "priority": "from -100 to 100",
    "concurrency": "requests at a time",
    "tokens_day": "tokens a day",
    "tokens_month": "tokens a month",
    "allowed_request_types": "with commas between",
    "models": 'patterns with commas between, as "openai/*,auto"',
}


class Refused(ValueError):
    """It cannot be done; says why."""


def command(arguments: list[str], read: Callable[[Path | None], Read]) -> int:
    """0, or 1 when it cannot be done. Raises SettingsError and StoreError."""
    given = parser().parse_args(arguments)
    settings, _ = read(given.config)()
    if not settings.store.database:
        raise StoreError('store.database: is "", so there is nothing that would keep a code')

    async def work() -> None:
        database = Database(settings.store.database)
        redis = connect(settings.store.redis)
        try:
            await database.open()
            await given.run(CodeBook(database), given, settings.access.admin_token)
            await announce(redis)
        finally:
            await database.close()
            if redis is not None:
                await redis.aclose()

    try:
        asyncio.run(work())
    except (Refused, BadRequest) as fault:
        sys.stderr.write(f"pointsman: {fault}\n")
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    found.add_argument("--config", type=Path, help="default: gateway.toml, where it is there")
    groups = found.add_subparsers(required=True)
    token = groups.add_parser("token", help="the operator's own")
    token.add_argument("--new", action="store_true", required=True, help="replaces the last one")
    token.set_defaults(run=new_token)
    codes = groups.add_parser("codes", help="applications that may call").add_subparsers(
        required=True
    )
    _verb(
        codes, "create", "a new one; prints its secret, which is kept nowhere", create, terms=True
    )
    _verb(codes, "list", "all of them, as JSON with --json", every).add_argument(
        "--json", action="store_true"
    )
    _verb(codes, "change", 'other limits; "" takes one away', change, id_=True, terms=True)
    rotating = _verb(codes, "rotate", "a new secret", rotate, id_=True)
    rotating.add_argument(
        "--grace", type=float, default=0.0, metavar="S", help="seconds that the old one holds"
    )
    _verb(codes, "revoke", "for good", revoke, id_=True)
    return found


def _verb(
    verbs: Any,
    name: str,
    told: str,
    run: Callable[..., Coroutine[Any, Any, None]],
    *,
    id_: bool = False,
    terms: bool = False,
) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = verbs.add_parser(name, help=told)
    if id_:
        found.add_argument("id", help="as `codes list` shows it")
    if terms:
        for word in (*TEXTS, *NUMBERS, *LISTS):
            flag = "--" + word.replace("_", "-")
            found.add_argument(flag, dest=word, help=HELP.get(word))
    found.set_defaults(run=run)
    return found


async def create(book: CodeBook, given: argparse.Namespace, _: str) -> None:
    code, made = await book.create(terms_of(_words(given)))
    _say(f"{code.id}  {made}")


async def every(book: CodeBook, given: argparse.Namespace, _: str) -> None:
    codes = (await book.read()).codes.values()
    if given.json:
        _say(orjson.dumps([_row(code) for code in codes], option=orjson.OPT_INDENT_2).decode())
        return
    for code in codes:
        state = "revoked" if code.revoked_at is not None else "valid"
        prefix = code.secrets[0].prefix if code.secrets else ""
        limits = code.terms.model_dump(mode="json", exclude_defaults=True, exclude={"name"})
        told = " ".join(f"{name}={value}" for name, value in limits.items())
        _say(f"{code.id:<22}{state:<9}{prefix + '...':<16}{code.terms.name}  {told}".rstrip())


async def change(book: CodeBook, given: argparse.Namespace, _: str) -> None:
    words = {name: value if value != "" else None for name, value in _words(given).items()}

    def terms(code: Code) -> Terms:
        _may_change(code)
        return changed(code.terms, words)

    _there(await book.change(given.id, terms), given.id)
    _say(f"{given.id}  changed")


async def rotate(book: CodeBook, given: argparse.Namespace, _: str) -> None:
    if not 0 <= given.grace <= 90 * 86_400:
        raise Refused("--grace must be from 0 to 7776000 seconds")
    rotated = await book.rotate(given.id, given.grace, _may_change)
    if rotated is None:
        raise Refused(f"there is no app code with the id {given.id}")
    _say(f"{given.id}  {rotated[1]}")


async def revoke(book: CodeBook, given: argparse.Namespace, _: str) -> None:
    _there(await book.revoke(given.id), given.id)
    _say(f"{given.id}  revoked")


async def new_token(book: CodeBook, given: argparse.Namespace, in_settings: str) -> None:
    made = secret.new_admin_token()
    await book.set_admin(secret.digest(made), replace_it=True)
    _say(made)
    if in_settings:
        sys.stderr.write("pointsman: ADMIN_TOKEN is set, and wins over it\n")


def _words(given: argparse.Namespace) -> dict[str, Any]:
    """What was said, as JSON would say it."""
    found: dict[str, Any] = {}
    for name in (*TEXTS, *NUMBERS, *LISTS):
        value = getattr(given, name)
        if value is None:
            continue
        if value and name in NUMBERS:
            try:
                value = int(value)
            except ValueError:
                raise Refused(f"{name} must be a whole number") from None
        elif value and name in LISTS:
            value = [word.strip() for word in value.split(",")]
        found[name] = value
    return found


def _row(code: Code) -> Mapping[str, Any]:
    return {
        "id": code.id,
        **code.terms.model_dump(mode="json"),
        "origin": code.origin,
        "revoked": code.revoked_at is not None,
        "prefixes": [one.prefix for one in code.secrets],
    }


def _may_change(code: Code) -> None:
    if code.origin == SETTINGS:
        raise Refused("this app code stands in gateway.toml; change it there")
    if code.revoked_at is not None:
        raise Refused("this app code was revoked, for good; make another")


def _there(code: Code | None, id_: str) -> None:
    if code is None:
        raise Refused(f"there is no app code with the id {id_}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
