"""Every name that a caller may write as a model, and what is known of it.

Routes and aliases come first, then each provider's models as provider/model. The lists of the
upstreams are the registry's, which looks again in the background: no caller waits for them, but
for the first look after the start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from chat.errors import GatewayError, ModelNotFound
from gateway.accounts.app import App
from gateway.accounts.identity import NOBODY
from gateway.accounts.limits import check_models
from gateway.engine.names import TAG, Target
from gateway.engine.ports import OPEN, Caller
from gateway.services import Services
from providers.model_info import ModelInfo

OWNER = "pointsman"
FIRST_LOOK_S = 3.0


@dataclass(frozen=True, slots=True)
class Listed:
    """`provider` and `model` are None for a route, which has several."""

    name: str
    info: ModelInfo
    provider: str | None = None
    model: str | None = None

    @property
    def owner(self) -> str:
        return self.provider or OWNER


async def listed(services: Services, caller: Caller = OPEN) -> list[Listed]:
    """All names that the caller may ask. Waits a moment for the first look at the upstreams, if it
    still runs."""
    try:
        async with asyncio.timeout(FIRST_LOOK_S):
            await services.looked.wait()
    except TimeoutError:
        # What is known without them is enough.
        pass
    found = [Listed(name, _of_route(services, name)) for name in services.settings.routes]
    known = services.directory.known()
    for alias, stands_for in services.settings.aliases.items():
        names = (stands_for,) if isinstance(stands_for, str) else stands_for
        route = services.router.route(alias)
        if route is not None:
            found.append(Listed(alias, _of_route(services, route)))
            continue
        if len(names) != 1:
            with contextlib.suppress(GatewayError):
                found.append(Listed(alias, _of(alias, services, services.router.targets(alias))))
            continue
        target = names[0]
        provider, _, model = target.partition("/")
        if provider not in known:
            provider = next((name for name, models in known.items() if target in models), "")
            model = target
        if provider:
            found.append(Listed(alias, services.registry.info(provider, model), provider, model))
    for provider, models in known.items():
        # An Ollama that is not installed, for one, has no models to choose from.
        if services.directory.answers(provider):
            found += [
                Listed(f"{provider}/{name}", services.registry.info(provider, name), provider, name)
                for name in models
            ]
    # Nobody gets here only where the lists are open.
    app = None if caller == NOBODY else services.limits.app_of(caller)
    if app is None or not app.models:
        return found
    return [one for one in found if _may_ask(services, app, one)]


def _may_ask(services: Services, app: App, one: Listed) -> bool:
    """As it will be said when he asks: of a route all of its targets pass, or its name."""
    try:
        route = services.router.route(one.name)
        if route is None:
            targets = list(services.router.targets(one.name))
        else:
            targets = [each for tier in services.router.tiers(route).values() for each in tier]
        check_models(app, one.name, targets)
    except GatewayError:
        return False
    return True


async def found(services: Services, name: str, caller: Caller = OPEN) -> Listed:
    """By its listed name, by a provider's bare one, with or without :latest. Raises
    ModelNotFound."""
    everything = await listed(services, caller)
    wanted = {name, name.removesuffix(TAG), name.removesuffix(TAG) + TAG}
    for matches in (
        lambda one: one.name == name,
        lambda one: one.name in wanted,
        lambda one: one.model in wanted and one.name == f"{one.provider}/{one.model}",
    ):
        for one in everything:
            if matches(one):
                return one
    raise ModelNotFound(name, services.directory.nearest(name, [one.name for one in everything]))


def target_of(services: Services, name: str) -> Target | None:
    """Whom a name stands for; None for a route. Raises ModelNotFound and what the router
    raises for a provider that is off."""
    if services.router.route(name) is not None:
        return None
    return services.router.targets(name)[0]


def _of_route(services: Services, name: str) -> ModelInfo:
    """What one of its targets can, the route can."""
    tiers = services.router.tiers(name).values()
    return _of(name, services, [target for tier in tiers for target in tier])


def _of(name: str, services: Services, targets: Iterable[Target]) -> ModelInfo:
    infos = [services.registry.info(target.provider.name, target.model) for target in targets]
    return replace(
        ModelInfo(name),
        context=_largest(info.context for info in infos),
        output=_largest(info.output for info in infos),
        capabilities=frozenset({"completion"}).union(
            *(info.capabilities or frozenset() for info in infos)
        ),
    )


def _largest(figures: Iterable[int | None]) -> int:
    return max((figure for figure in figures if figure is not None), default=0) or 8192
