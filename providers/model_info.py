"""What an upstream says of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chat.request import Json

ABILITIES: Final = ("tools", "vision", "json", "thinking")
"""Words for what a question may ask of a model; `json` is an answer by a schema."""
LISTED: Final = frozenset({"tools", "vision", "thinking"})


@dataclass(frozen=True, slots=True)
class Abilities:
    """What is certain of a model: true, false, or None where nobody says. `context` is in
    tokens, question and answer together; `prefill`: it goes on where an assistant's last message
    stops."""

    context: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    json: bool | None = None
    thinking: bool | None = None
    prefill: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that a provider has. What it does not say is None.

    `context` and `output` (the longest answer) in tokens; `capabilities` in Ollama's words:
    completion, tools, vision, thinking, embedding; and json. `spoken_of`: what its upstream would
    list if the model had it. `details`: an Ollama's own row of the model.
    """

    id: str
    context: int | None = None
    output: int | None = None
    capabilities: frozenset[str] | None = None
    spoken_of: frozenset[str] = LISTED
    details: Mapping[str, Json] = field(default_factory=dict)


def rows_of(body: Json, field: str) -> list[dict[str, Json]]:
    """The objects of a list of models: the body itself, or under `field`; [] for anything else."""
    rows = body.get(field) if isinstance(body, dict) else body
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def whole(value: Json) -> int | None:
    """A whole number above 0; None for anything else."""
    return value if type(value) is int and value > 0 else None
