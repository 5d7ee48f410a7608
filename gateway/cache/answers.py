"""The same question, asked again within a route's `cache_s`, gets the same answer.

The same is: the same messages, sampling, tools, format and model or route, in whatever dialect;
the request's id and whether it streams do not count. Answers stay with the caller who asked,
unless the route shares them. Only whole answers are kept.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from chat.trace import Trace
from gateway.cache.shelf import Clerk, MemoryShelf, RedisShelf, Shelf
from gateway.cache.tape import Taped, packed, unpacked, worth_keeping
from gateway.engine.ports import Asked, Kept, Provider
from gateway.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

PREFIX = "pointsman:answer:"

log = logging.getLogger("pointsman.cache")


@dataclass(frozen=True, slots=True)
class _Rule:
    seconds: float
    shared: bool
    warm: bool


class Answers:
    """The engine's AnswerCache. `settings` is asked anew for each request, as a reload changes
    them."""

    def __init__(self, settings: Callable[[], Settings], shelf: Shelf) -> None:
        self._settings = settings
        self.shelf = shelf
        self.clerk = Clerk(shelf)

    def look(self, asked: Asked, trace: Trace) -> Slot | None:
        """None where answers are not kept."""
        settings = self._settings()
        name = asked.request.model
        alias = settings.aliases.get(name, name)
        name = alias if isinstance(alias, str) else name
        route = settings.routes.get(name)
        if route is not None:
            if not route.cache_s:
                return None
            rule = _Rule(route.cache_s, route.cache_shared, route.cache_any_temperature)
        else:
            named = settings.cache
            if not named.named_s:
                return None
            rule = _Rule(named.named_s, named.named_shared, named.named_any_temperature)
        if asked.request.sampling.temperature and not rule.warm:
            return None
        trace.cache = "miss"
        trace.headers["x-cache"] = "miss"
        longest = settings.cache.answer_bytes
        route_name = name if route is not None else "named"
        return Slot(self, _key(asked, name, rule.shared), rule.seconds, longest, route_name)

    async def close(self) -> None:
        await self.clerk.close()


class Slot:
    """The place of one question's answer."""

    def __init__(
        self, answers: Answers, key: str, seconds: float, longest: int, route: str
    ) -> None:
        self._answers = answers
        self._key = key
        self._seconds = seconds
        self._longest = longest
        self.route = route

    async def found(self) -> Kept | None:
        raw = await self._answers.shelf.get(self._key)
        if raw is None:
            return None
        try:
            return unpacked(raw)
        except (ValueError, KeyError, TypeError):
            # Of another version, most likely.
            log.warning("a kept answer cannot be read")
            return None

    def taped(self, provider: Provider) -> Provider:
        return Taped(provider, self._longest)

    def keep(self, provider: Provider, model: str) -> None:
        """`provider`: the one that answered, as `taped` gave it."""
        if isinstance(provider, Taped) and worth_keeping(provider.events):
            value = packed(provider.events, provider.name, model)
            self._answers.clerk.put(self._key, value, self._seconds)


def shelf_of(settings: Settings, redis: Redis | None) -> Shelf:
    if redis is None:
        return MemoryShelf(settings.cache.memory_bytes)
    return RedisShelf(redis, PREFIX)


def _key(asked: Asked, name: str, shared: bool) -> str:
    """Of what makes two questions the same. Fields that only one dialect knows tie the question
    to that dialect."""
    request = replace(asked.request, model=name, stream=False, include_usage=True)
    whose = "" if shared else asked.caller.id
    dialect = asked.dialect.name if request.extra else ""
    tree = [whose, dialect, list(asked.models), request]
    raw = orjson.dumps(tree, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(raw).hexdigest()
