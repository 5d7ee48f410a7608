"""Every name that a caller may write as a model, and what is known of it.

Routes and aliases come first, then each provider's models as provider/model. The lists of the
upstreams are the registry's, which looks again in the background: no caller waits for them, but
for the first look after the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

from chat.errors import ModelNotFound
from chat.request import ChatRequest
from chat.trace import Trace
from gateway.engine.routing import Target
from gateway.services import Services
from providers.model_info import ModelInfo

OWNER = "pointsman"
TAG = ":latest"
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


async def listed(services: Services) -> list[Listed]:
    """All names. Waits a moment for the first look at the upstreams, if it still runs."""
    try:
        async with asyncio.timeout(FIRST_LOOK_S):
            await services.looked.wait()
    except TimeoutError:
        # What is known without them is enough.
        pass
    found = [Listed(name, _of_route(services, name)) for name in services.settings.routes]
    known = services.directory.known()
    for alias, target in services.settings.aliases.items():
        if target in services.settings.routes:
            found.append(Listed(alias, _of_route(services, target)))
            continue
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
    return found


async def found(services: Services, name: str) -> Listed:
    """By its listed name, by a provider's bare one, with or without :latest. Raises
    ModelNotFound."""
    everything = await listed(services)
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


def untagged(services: Services, name: str) -> str:
    """Ollama's clients write `m:latest` for `m`: the name as it is known here."""
    bare = name.removesuffix(TAG)
    if bare == name:
        return name
    known = services.directory.known()
    provider, _, model = name.partition("/")
    if model in known.get(provider, ()) or any(name in models for models in known.values()):
        return name
    named = bare in services.settings.routes or bare in services.settings.aliases
    listed_so = bare.partition("/")[2] in known.get(provider, ())
    bare_so = any(bare in models for models in known.values())
    return bare if named or listed_so or bare_so else name


async def target_of(services: Services, name: str, request_id: str) -> Target | None:
    """Whom a name stands for; None for a route. Raises ModelNotFound and what the router
    raises for a provider that is off."""
    name = untagged(services, name)
    if services.settings.aliases.get(name, name) in services.settings.routes:
        return None
    plan = await services.router.plan(ChatRequest(name, ()), Trace(request_id))
    return plan.targets[0]


def _of_route(services: Services, name: str) -> ModelInfo:
    """What one of its targets can, the route can."""
    targets = [target for tier in services.router.tiers(name).values() for target in tier]
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
