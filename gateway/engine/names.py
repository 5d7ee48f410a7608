"""From the names that callers and owners write to targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chat.errors import GatewayError, ModelNotFound
from gateway.engine.ports import Directory, Provider
from providers.model_info import Abilities

TAG = ":latest"
"""Ollama's clients write it behind any name: `m:latest` and `m` are one."""
UNKNOWN = Abilities()


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider."""

    provider: Provider
    model: str
    name: str
    """provider/model"""
    can: Abilities = UNKNOWN


class ProviderOff(GatewayError):
    """The caller names a provider that has no key here."""

    status = 404
    kind = "model_not_found"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model", code="provider_off")


class Names:
    def __init__(
        self,
        directory: Directory,
        routes: Iterable[str],
        aliases: Mapping[str, str | Sequence[str]],
    ) -> None:
        self._directory = directory
        self._routes = frozenset(routes)
        self._aliases = {
            name: (stands_for,) if isinstance(stands_for, str) else tuple(stands_for)
            for name, stands_for in aliases.items()
        }

    def route(self, name: str) -> str | None:
        """The route that a name stands for."""
        bare = name.removesuffix(TAG)
        for one in (name, bare):
            if one in self._routes:
                return one
            stands_for = self._aliases.get(one, ())
            if len(stands_for) == 1 and stands_for[0] in self._routes:
                return stands_for[0]
        return None

    def targets(self, name: str) -> tuple[Target, ...]:
        """In order. Of an alias of several those whose provider is on. Raises ModelNotFound, or
        ProviderOff when nobody is left."""
        names = self._aliases.get(name) or self._aliases.get(name.removesuffix(TAG))
        if names is None:
            return (self._found(name, name),)
        if len(names) == 1:
            return (self._found(names[0], name),)
        found: list[Target] = []
        missing: GatewayError | None = None
        for one in names:
            try:
                found.append(self._found(one, one))
            except GatewayError as failure:
                missing = missing or failure
        if not found and missing is not None:
            raise missing
        return once(found)

    def configured(self, name: str) -> tuple[Target, ...]:
        """What stands in a tier: a target, an alias, or a provider for its default model; nobody
        when it is off."""
        found = []
        for one in self._aliases.get(name, (name,)):
            provider, _, model = one.partition("/")
            if provider in self._directory.providers:
                model = model or self._directory.default_model(provider) or ""
                if model:
                    found.append(self._target(provider, model))
        return tuple(found)

    def nearest(self, name: str) -> Sequence[str]:
        return self._directory.nearest(name, [*self._routes, *self._aliases])

    def _found(self, name: str, asked: str) -> Target:
        head, slash, model = name.partition("/")
        if slash and model and head in self._directory.providers:
            return self._target(head, model)
        if slash and (why := self._directory.why_off(head)) is not None:
            raise ProviderOff(f"The provider {head!r} is off: {why}.")
        bare = name.removesuffix(TAG)
        for wanted in dict.fromkeys((name, bare, bare + TAG)):
            for provider, models in self._directory.known().items():
                if wanted in models:
                    return self._target(provider, wanted)
        raise ModelNotFound(asked, self.nearest(asked))

    def _target(self, provider: str, model: str) -> Target:
        """The tag that says nothing is left out, unless the provider lists the name with it."""
        if model.endswith(TAG):
            known = self._directory.known().get(provider, ())
            bare = model.removesuffix(TAG)
            speaks = self._directory.providers[provider].dialect.name
            if model not in known and (bare in known or speaks == "ollama"):
                model = bare
        return Target(
            self._directory.providers[provider],
            model,
            f"{provider}/{model}",
            self._directory.abilities(provider, model),
        )


def once(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Each target at its first place."""
    found: dict[str, Target] = {}
    for target in targets:
        found.setdefault(target.name, target)
    return tuple(found.values())
