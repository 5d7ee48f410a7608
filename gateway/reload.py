"""The settings read again while the service runs: all of them or none.

Whoever is being answered keeps the parts with which he began; the next caller meets the new ones.
What an upstream showed of itself stays known where its row did not change, and rests go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from gateway.classifier_client import HttpClassifier
from gateway.engine.learned import Learned
from gateway.engine.ports import Prices, Recorder
from gateway.engine.routing import Router
from gateway.overrides import Changes, over
from gateway.services import ProviderDirectory, Services
from gateway.settings import Settings
from providers import http1
from providers import registry as providers

log = logging.getLogger("pointsman.settings")

Environment = Mapping[str, str]
Read = Callable[[], tuple[Settings, Environment]]
"""Reads the file and the environment. Raises SettingsError."""

AT_START = (
    ("server", ("host", "port", "body_limit", "drain_s")),
    ("store", ("database", "redis", "secret_key")),
    ("jobs", ("queue",)),
    ("web", ("dist", "orphan_s", "kept_s", "kept_bytes")),
    ("log", ("debug", "format", "folder", "file_mb", "files")),
)
"""Settings that are read at start only."""


def registry_of(
    settings: Settings, client: http1.Client, environment: Environment
) -> providers.Registry:
    """Raises CatalogError."""
    return providers.build(
        settings.providers,
        client,
        environment=environment,
        limits={"idle_s": settings.attempts.idle_s, "one_shot_s": settings.attempts.one_shot_s},
        models={
            name: model.model_dump(by_alias=True, exclude_none=True)
            for name, model in settings.models.items()
        },
    )


def router_of(
    settings: Settings,
    directory: ProviderDirectory,
    client: http1.Client,
    recorder: Recorder,
    learned: Learned | None = None,
    prices: Prices | None = None,
) -> Router:
    return Router(
        directory,
        settings.routes,
        settings.aliases,
        HttpClassifier(settings.classifier, client),
        recorder,
        settings.classifier.on_failure,
        learned,
        prices,
    )


class Reloader:
    def __init__(self, services: Services, read: Read) -> None:
        self._services = services
        self._read = read
        services.reloader = self

    def reload(self) -> bool:
        """False when the settings cannot be: the last good ones hold, and /readyz, the log and
        the metrics say so."""
        services = self._services
        try:
            settings, environment = self._read()
            self._use(self._services.overrides.over(settings), environment)
            self._guard(_hosts(settings, environment))
        except ValueError as fault:
            services.warnings["settings"] = f"The settings were not reloaded: {fault}"
            services.metrics.reloads.labels("refused").inc()
            log.error("settings not reloaded", extra={"fields": {"error": str(fault)}})
            return False
        services.warnings.pop("settings", None)
        services.metrics.reloads.labels("applied").inc()
        log.info("settings reloaded")
        return True

    def hosts(self) -> tuple[str, ...]:
        """Where an address set at run time may point though it is not public: what the settings
        allow, and where they themselves point."""
        settings, environment = self._read()
        return _hosts(settings, environment)

    def trial(self, overrides: Changes) -> providers.Registry:
        """The providers as they would be. Raises ValueError where the settings cannot be."""
        settings, environment = self._read()
        return registry_of(over(settings, overrides), self._services.client, environment)

    def _use(self, settings: Settings, environment: Environment) -> None:
        """Raises ValueError before anything is changed."""
        services, pipeline = self._services, self._services.pipeline
        registry = registry_of(settings, services.client, environment)
        _remember(registry, services.registry)
        directory = ProviderDirectory(registry)
        router = router_of(
            settings,
            directory,
            services.client,
            pipeline.recorder,
            services.router.learned,
            services.router.prices,
        )
        self._compare(settings)
        services.settings = settings
        services.feedback.settings = settings.feedback
        services.registry, services.directory, services.router = registry, directory, router
        pipeline.use(router, settings.server.message_limit, settings.server.max_messages)
        services.pressure.use(settings.server)
        pipeline.walker.use(settings.attempts)
        services.rests.settings = settings.cooldown
        services.prices.use(settings.prices)
        services.ledger.settings = settings.ledger
        services.accounts.use(settings)
        services.jobs.use(settings.jobs)
        services.origins.use(settings.access.cors)
        services.changed.set()

    def _guard(self, allow: tuple[str, ...]) -> None:
        """Addresses that were set at run time stay what they were when they were looked at."""
        guarded: dict[http1.Origin, tuple[str, ...]] = {}
        for path, value in self._services.overrides.values.items():
            if path.startswith("providers/") and path.endswith("/base_url"):
                with suppress(ValueError):
                    guarded[http1.address(value).origin] = allow
        self._services.client.guarded = dict(guarded)

    def _compare(self, settings: Settings) -> None:
        """What was changed and needs a restart is told until it is changed back."""
        began = self._services.at_start
        late = [
            f"{section}.{name}"
            for section, names in AT_START
            for name in names
            if getattr(getattr(settings, section), name) != getattr(getattr(began, section), name)
        ]
        if late:
            told = f"These settings hold after a restart: {', '.join(late)}"
            self._services.warnings["restart"] = told
        else:
            self._services.warnings.pop("restart", None)


def _hosts(settings: Settings, environment: Environment) -> tuple[str, ...]:
    found = list(settings.access.upstream_allow)
    on, _ = providers.rows(settings.providers, environment)
    for row in on:
        with suppress(ValueError):
            origin = http1.address(row.base_url).origin
            found.append(f"{origin.host}:{origin.port}")
    return tuple(found)


def _remember(registry: providers.Registry, before: providers.Registry) -> None:
    for name, provider in registry.providers.items():
        known = before.providers.get(name)
        if known is None or known.row != provider.row:
            continue
        if name in before.health:
            registry.health[name] = before.health[name]
        if name in before.found:
            registry.found[name] = before.found[name]
