"""The parts that a handler may use, under one key."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from gateway.accounts.accounts import Accounts
from gateway.accounts.identity import Identity
from gateway.accounts.limits import Limits
from gateway.accounts.metering import Metering
from gateway.cache.answers import Answers
from gateway.cache.items import Items
from gateway.engine.cooldown import CooldownTable
from gateway.engine.pipeline import Pipeline
from gateway.engine.ports import Provider
from gateway.engine.pressure import Pressure
from gateway.engine.routing import Router
from gateway.feedback.keeper import FeedbackKeeper
from gateway.jobs.gate import Gates
from gateway.jobs.service import Jobs
from gateway.ledger.ledger import Ledger
from gateway.ledger.prices import Prices
from gateway.monitor.metrics import Metrics
from gateway.monitor.recorder import MetricsRecorder
from gateway.origins import Origins
from gateway.overrides import Changes, Overrides
from gateway.rests.around import RestsAround
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.watch import Watch
from providers import http1
from providers.model_info import Abilities
from providers.registry import Registry

if TYPE_CHECKING:
    from redis.asyncio import Redis


class ProviderDirectory:
    """The registry, as the engine sees it. Names are looked up for each bare model that a caller
    writes, so the lists are made once and again when an upstream was looked at."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.providers: Mapping[str, Provider] = registry.providers
        self._known = registry.known()
        self._pairs = _pairs(self._known)

    def refresh(self) -> None:
        self._known = self._registry.known()
        self._pairs = _pairs(self._known)

    def default_model(self, provider: str) -> str | None:
        return self._registry.default_model(provider)

    def answers(self, provider: str) -> bool:
        seen = self._registry.health.get(provider)
        return seen is None or seen.state != "unreachable"

    def why_off(self, provider: str) -> str | None:
        off = self._registry.off.get(provider)
        return off.why if off else None

    def known(self) -> Mapping[str, Sequence[str]]:
        return self._known

    def is_known(self, provider: str, model: str) -> bool:
        return (provider, model) in self._pairs

    def abilities(self, provider: str, model: str) -> Abilities:
        return self._registry.abilities(provider, model)

    def nearest(self, name: str, extra: Sequence[str] = ()) -> Sequence[str]:
        return self._registry.nearest(name, extra)


def _pairs(known: Mapping[str, Sequence[str]]) -> set[tuple[str, str]]:
    return {(provider, model) for provider, models in known.items() for model in models}


class Reloading(Protocol):
    """What reads the settings again."""

    def reload(self) -> bool: ...

    def hosts(self) -> tuple[str, ...]:
        """Where an address set at run time may point though it is not public."""
        ...

    def trial(self, overrides: Changes) -> Registry:
        """The providers as they would be. Raises ValueError where the settings cannot be."""
        ...


@dataclass(slots=True)
class Services:
    settings: Settings
    client: http1.Client
    registry: Registry
    directory: ProviderDirectory
    router: Router
    pipeline: Pipeline
    metrics: Metrics
    rests: CooldownTable | RestsAround
    accounts: Accounts
    limits: Limits
    metering: Metering
    identity: Identity
    feedback: FeedbackKeeper
    origins: Origins
    pressure: Pressure
    recorder: MetricsRecorder
    prices: Prices
    ledger: Ledger
    jobs: Jobs
    gates: Gates
    overrides: Overrides
    answers: Answers
    items: Items
    database: Database
    watch: Watch
    redis: Redis | None
    """None where each process is on its own."""
    started: float
    """Monotonic seconds."""
    at_start: Settings
    """Those with which the process began."""
    reloader: Reloading | None = None
    """Set as soon as there is one."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the settings were reloaded: the upstreams are looked at again."""
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when every upstream was looked at once."""
    draining: bool = False
    late: bool = False
    """It stops, and too soon to begin an answer."""
    problems: list[str] = field(default_factory=list)
    """Why this process is not ready, a line each."""
    warnings: dict[str, str] = field(default_factory=dict)
    """What an operator should know, though callers are answered; by what it is about."""

    def reload(self) -> bool:
        """Reads the settings again; False when they cannot be."""
        return self.reloader is not None and self.reloader.reload()


class Standing:
    """Where the services are found by what is made before they are and runs for each request:
    `app[SERVICES]` is a call or three."""

    services: Services


SERVICES = web.AppKey("services", Services)
STANDING = web.AppKey("standing", Standing)
