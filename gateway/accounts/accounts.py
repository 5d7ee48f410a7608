"""Who may call, in memory: the hot path asks a map, and the map follows the database.

A change made here is in force at once. The other workers of a machine are rung for, other processes
learn of it by Redis where there is one, and the store's watch tells all who hear of it by neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.accounts import secret
from gateway.accounts.app import App
from gateway.accounts.bell import Bell
from gateway.accounts.codebook import Book, CodeBook
from gateway.engine.ports import Caller
from gateway.settings import Access, Settings, SettingsError
from gateway.store.faults import unreachable
from gateway.store.watch import Watch, Wish
from gateway.terms import SeedTerms

if TYPE_CHECKING:
    from redis.asyncio import Redis

LISTEN_S = 1.0
"""To one message of Redis', and between two tries to reach it."""
CHANNEL = "pointsman:codes"
WARNING = "codes"
OLD = "The app codes may be old"

log = logging.getLogger("pointsman.accounts")


class Accounts:
    """`host`: where the gateway listens. `warnings`: what an operator reads in /readyz."""

    def __init__(
        self,
        settings: Settings,
        book: CodeBook,
        watch: Watch,
        redis: Redis | None = None,
        warnings: MutableMapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
        bell: Bell | None = None,
    ) -> None:
        self.book = book
        self.access: Access = settings.access
        self.codes: Book = Book(0, {}, None)
        """As the database had it at the last look."""
        self.required = True
        """A key is asked for."""
        self.admin_digest = b""
        self.fresh_admin_token: str | None = None
        """Made by this start; to be shown once."""
        self._host = settings.server.host
        self._watch = watch
        watch.add(Wish(book.number, self._heard, self._old))
        self._redis = redis
        self._bell = bell
        self._warnings: MutableMapping[str, str] = {} if warnings is None else warnings
        self._now = now
        self._by_digest: dict[bytes, tuple[App, float]] = {}
        self._by_id: dict[str, App] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._seeds: Mapping[str, SeedTerms] = settings.codes
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        """Raises SettingsError when nobody could ask without anybody being able to."""
        await self.book.seed(self._seeds)
        await self.read()
        if not self.access.admin_token and self.codes.admin is None:
            made = secret.new_admin_token()
            # Several processes may start at once: one of them makes it, and shows it.
            if await self.book.set_admin(secret.digest(made), replace_it=False):
                self.fresh_admin_token = made
            await self.read()
        if not is_loopback(self._host) and self.access.open is not True and not self.codes.codes:
            raise SettingsError(
                f"server.host: {self._host} lets other machines in, and nobody has a key: make one "
                "(python -m gateway codes create --name NAME), or set access.open = true to let "
                "anybody ask"
            )
        if self._bell is not None:
            self._bell.listen(lambda: self._spawn(self._watch.look()))
        if self._redis is not None:
            self._spawn(self._listen(self._redis))

    async def close(self) -> None:
        if self._bell is not None:
            self._bell.deafen()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def use(self, settings: Settings) -> None:
        """After a reload; the codes of the file follow in a moment."""
        self.access = settings.access
        self._seeds = settings.codes
        self._stand(self.codes)
        self._spawn(self._reseed(settings.codes))

    def find(self, code: str) -> App | None:
        """Whose code it is; None for one that is unknown, revoked or expired."""
        return self.by_digest(secret.digest(code))

    def by_digest(self, digest: bytes) -> App | None:
        # A map of digests tells nothing by its time: who guesses does not choose the digest.
        found = self._by_digest.get(digest)
        if found is None or found[1] <= self._now():
            return None
        return found[0]

    def app(self, id_: str) -> App | None:
        """By its id, as a Caller has it; None when it was revoked since."""
        return self._by_id.get(id_)

    def pace_of(self, id_: str) -> tuple[int, float] | None:
        """So many requests in so many seconds are let through: of tokens' windows one is certain,
        and by the concurrency so many as long as an answer takes, which is 0 s here."""
        app = self._by_id.get(id_)
        if app is None:
            return None
        if app.tokens is not None:
            return 1, app.tokens.seconds
        if app.requests is not None:
            return app.requests.count, app.requests.seconds
        return None if app.concurrency is None else (app.concurrency, 0.0)

    @staticmethod
    def caller_of(app: App) -> Caller:
        return app.caller

    async def changed(self) -> None:
        """The database was changed: by us, so that it holds at once, and everywhere."""
        await self.read()
        if self._bell is not None:
            self._bell.ring()
        await announce(self._redis)

    async def read(self) -> None:
        async with self._reading:
            self._stand(await self.book.read())

    def _stand(self, book: Book) -> None:
        by_digest: dict[bytes, tuple[App, float]] = {}
        by_id: dict[str, App] = {}
        for code in book.codes.values():
            if code.revoked_at is not None:
                continue
            known, app = self._by_id.get(code.id), App.of(code.id, code.terms)
            # The same object while nothing changed: limits hang on it.
            by_id[code.id] = app = known if known == app else app
            expires = code.terms.expires.timestamp() if code.terms.expires else math.inf
            for one in code.secrets:
                ends = math.inf if one.ends_at is None else one.ends_at
                by_digest[one.digest] = (app, min(expires, ends))
        self.codes, self._by_digest, self._by_id = book, by_digest, by_id
        token = self.access.admin_token
        self.admin_digest = secret.digest(token) if token else book.admin or b""
        if self.access.open == "auto":
            # A code that was revoked counts: taking the last one away opens no door.
            self.required = bool(book.codes) or not is_loopback(self._host)
        else:
            self.required = not self.access.open

    async def _reseed(self, seeds: Mapping[str, SeedTerms]) -> None:
        try:
            if await self.book.seed(seeds):
                await self.changed()
        except (SettingsError, SQLAlchemyError, OSError) as fault:
            self._warn(f"The app codes of the settings are not in force: {_words(fault)}")
        else:
            self._warnings.pop(WARNING, None)

    async def _heard(self, version: int) -> None:
        if version != self.codes.version:
            await self.read()
        if self._warnings.get(WARNING, "").startswith(OLD):
            del self._warnings[WARNING]

    def _old(self, fault: BaseException) -> None:
        self._warn(f"{OLD}: {_words(fault)}")

    async def _listen(self, redis: Redis) -> None:
        while True:
            with contextlib.suppress(*unreachable()):
                async with redis.pubsub() as channel:
                    await channel.subscribe(CHANNEL)
                    while True:
                        heard = await channel.get_message(
                            ignore_subscribe_messages=True, timeout=LISTEN_S
                        )
                        if heard is not None:
                            await self._watch.look()
            # It is gone; the looks at the database go on meanwhile.
            await asyncio.sleep(LISTEN_S)

    def _warn(self, words: str) -> None:
        if self._warnings.get(WARNING) != words:
            log.error("app codes", extra={"fields": {"error": words}})
        self._warnings[WARNING] = words

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def announce(redis: Redis | None) -> None:
    """Tells every process that the codes are other ones."""
    if redis is not None:
        # Without it they find out by themselves, a second later.
        with contextlib.suppress(*unreachable()):
            await redis.publish(CHANNEL, b"")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _words(fault: BaseException) -> str:
    origin = getattr(fault, "orig", None) or fault
    return (str(origin).strip() or type(origin).__name__).splitlines()[0]
