"""The providers that are on, and why the others are not.

A row comes from catalog.toml, then gateway.toml, then the environment. One that needs a key and
has none is off, and says which variable would turn it on.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from chat.errors import UpstreamError
from chat.request import Json
from dialects.anthropic import AnthropicDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect
from dialects.openai import OpenAiDialect, OpenAiQuirks
from providers import facts, http1
from providers.anthropic import AnthropicProvider
from providers.base import Health, HttpProvider, ProviderRow
from providers.gemini import GeminiProvider
from providers.model_info import Abilities, ModelInfo
from providers.ollama import OllamaProvider
from providers.openai_compatible import OpenAiCompatibleProvider

CATALOG = Path(__file__).with_name("catalog.toml")
PREFILLS = ("", "assistant", "flags")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
ROW_FIELDS = frozenset(
    (
        "kind",
        "base_url",
        "base_url_env",
        "key_env",
        "api_key",
        "needs_key",
        "default_model",
        "default_model_env",
        "fallback_models",
        "fallback_models_env",
        "models",
        "check",
        "quirks",
        "prefill",
        "enabled",
    )
)


class CatalogError(ValueError):
    """A row that cannot be: the message names the provider and the field."""


@dataclass(frozen=True, slots=True)
class Off:
    """A provider that is not asked, and what would turn it on."""

    name: str
    why: str


@cache
def catalog() -> dict[str, dict[str, Json]]:
    with CATALOG.open("rb") as file:
        return tomllib.load(file)


def rows(
    configured: Mapping[str, Mapping[str, Json]], environment: Mapping[str, str]
) -> tuple[list[ProviderRow], list[Off]]:
    """Catalogue, then configuration, then environment. Raises CatalogError."""
    merged = {name: dict(row) for name, row in catalog().items()}
    for name, row in configured.items():
        if not NAME.fullmatch(name):
            raise CatalogError(f"providers.{name}: a name has a-z, 0-9, _ and - only.")
        merged.setdefault(name, {}).update(row)
    on: list[ProviderRow] = []
    off: list[Off] = []
    for name, row in merged.items():
        found = _row(name, row, environment)
        on.append(found) if isinstance(found, ProviderRow) else off.append(found)
    return on, off


def _row(name: str, row: Mapping[str, Json], environment: Mapping[str, str]) -> ProviderRow | Off:
    for unknown in row.keys() - ROW_FIELDS:
        raise CatalogError(f"providers.{name}.{unknown} is not a setting.")
    kind = row.get("kind")
    if kind not in KINDS:
        raise CatalogError(
            f"providers.{name}.kind must be one of {', '.join(KINDS)}, not {kind!r}."
        )
    if row.get("enabled", True) is False:
        return Off(name, "it is disabled in the configuration")
    url_env = row.get("base_url_env")
    base_url = environment.get(url_env or "") or row.get("base_url")
    if not base_url:
        return Off(name, f"{url_env or f'providers.{name}.base_url'} is not set")
    if not str(base_url).startswith(("http://", "https://")):
        raise CatalogError(f"providers.{name}.base_url must start with http:// or https://.")
    key_env: Sequence[str] = row.get("key_env", ())
    key = row.get("api_key") or next(
        (environment[variable] for variable in key_env if environment.get(variable)), None
    )
    # Someone who gives an address of his own runs a server of his own, which may want no key.
    own_address = "base_url" in row and name not in catalog()
    if not key and row.get("needs_key", not own_address):
        return Off(name, f"{' or '.join(key_env) or f'providers.{name}.api_key'} is not set")
    prefill = row.get("prefill", "")
    if prefill not in PREFILLS:
        raise CatalogError(
            f"providers.{name}.prefill must be assistant, flags or empty, not {prefill!r}."
        )
    return ProviderRow(
        name=name,
        kind=kind,
        base_url=str(base_url).rstrip("/"),
        key=key or None,
        default_model=environment.get(row.get("default_model_env") or "")
        or row.get("default_model"),
        fallback_models=_names(environment.get(row.get("fallback_models_env") or ""))
        or tuple(row.get("fallback_models", ())),
        models=tuple(row.get("models", ())),
        check=row.get("check", "/models" if kind == "openai" else None),
        quirks=row.get("quirks", {}),
        prefill=prefill,
    )


def _names(value: str | None) -> tuple[str, ...]:
    """ "a, b" -> ("a", "b")."""
    return tuple(name for part in (value or "").split(",") if (name := part.strip()))


def _quirks(row: ProviderRow) -> OpenAiQuirks:
    known = {item.name for item in fields(OpenAiQuirks)}
    for unknown in row.quirks.keys() - known:
        raise CatalogError(
            f"providers.{row.name}.quirks.{unknown} is not one of {', '.join(sorted(known))}."
        )
    return OpenAiQuirks(**row.quirks)


Maker = Callable[[ProviderRow, http1.Client, Mapping[str, Any]], HttpProvider]

KINDS: dict[str, Maker] = {
    "openai": lambda row, client, limits: OpenAiCompatibleProvider(
        row, OpenAiDialect(_quirks(row)), client, **limits
    ),
    "anthropic": lambda row, client, limits: AnthropicProvider(
        row, AnthropicDialect(), client, **limits
    ),
    "gemini": lambda row, client, limits: GeminiProvider(row, GeminiDialect(), client, **limits),
    "ollama": lambda row, client, limits: OllamaProvider(row, OllamaDialect(), client, **limits),
}


@dataclass(slots=True)
class Registry:
    """The providers that are on by name, those that are off, and what is known of both."""

    providers: dict[str, HttpProvider]
    off: dict[str, Off]
    health: dict[str, Health] = field(default_factory=dict)
    found: dict[str, tuple[ModelInfo, ...]] = field(default_factory=dict)
    """Models that an upstream listed, by provider."""
    given: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """What the owner says of a model, by provider/model."""

    async def look(self) -> None:
        """Asks every provider for its health and its models, all at once. Runs beside the
        service: readiness does not wait for it."""
        await asyncio.gather(*(self._look_at(provider) for provider in self.providers.values()))

    async def _look_at(self, provider: HttpProvider) -> None:
        health = await provider.check()
        self.health[provider.name] = health
        if health.state == "connected":
            try:
                self.found[provider.name] = tuple(await provider.models())
            except UpstreamError:
                # The last list stays: it is a convenience, named models are asked in any case.
                return

    def default_model(self, name: str) -> str | None:
        """What a bare provider stands for. An Ollama has what its owner pulled: when that is
        not the default, it is the first that it lists."""
        provider = self.providers[name]
        wanted = provider.row.default_model
        listed = [info.id for info in self.found.get(name, ())]
        if provider.kind == "ollama" and listed and wanted not in listed:
            return listed[0]
        return wanted

    def known(self) -> dict[str, tuple[str, ...]]:
        """Model names by provider: listed, configured, default."""
        return {
            name: tuple(
                dict.fromkeys(
                    (
                        *((provider.row.default_model,) if provider.row.default_model else ()),
                        *provider.row.fallback_models,
                        *provider.row.models,
                        # Names that were configured are the only ones; what their upstream
                        # says of them is kept all the same.
                        *(() if provider.row.models else self._listed(name)),
                    )
                )
            )
            for name, provider in self.providers.items()
        }

    def _listed(self, provider: str) -> tuple[str, ...]:
        return tuple(info.id for info in self.found.get(provider, ()))

    def info(self, provider: str, model: str) -> ModelInfo:
        """What its upstream says of a model, completed by what is known of its family."""
        return facts.completed(*self._of(provider, model))

    def abilities(self, provider: str, model: str) -> Abilities:
        """What is certain of a model, and whether it goes on where a given answer stops."""
        certain = facts.abilities(*self._of(provider, model))
        if certain.prefill is None and provider in self.providers:
            return replace(certain, prefill=self.providers[provider].continues(model))
        return certain

    def _of(self, provider: str, model: str) -> tuple[ModelInfo, Mapping[str, Json]]:
        """The upstream's word and the owner's."""
        bare = model.removesuffix(":latest")
        said = next(
            (info for info in self.found.get(provider, ()) if info.id in (model, bare)), None
        )
        given = self.given.get(f"{provider}/{model}") or self.given.get(f"{provider}/{bare}") or {}
        return said or ModelInfo(model), given

    def nearest(self, name: str, extra: Iterable[str] = ()) -> list[str]:
        """At most three names that resemble `name`, for an error that helps."""
        names = list(extra)
        for provider, models in self.known().items():
            names += [f"{provider}/{model}" for model in models]
            names += models
        lowered = {candidate.lower(): candidate for candidate in names}
        close = difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)
        return [lowered[match] for match in close]


def build(
    configured: Mapping[str, Mapping[str, Json]],
    client: http1.Client,
    *,
    environment: Mapping[str, str] = os.environ,
    limits: Mapping[str, Any] | None = None,
    models: Mapping[str, Mapping[str, Json]] | None = None,
) -> Registry:
    """`models` is what the owner says of them, by provider/model. Raises CatalogError."""
    on, off = rows(configured, environment)
    return Registry(
        providers={row.name: KINDS[row.kind](row, client, limits or {}) for row in on},
        off={row.name: row for row in off},
        given=models or {},
    )
