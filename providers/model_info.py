"""What an upstream says of its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chat.request import Json


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that a provider has. What it does not say is None.

    `context` and `output` (the longest answer) in tokens; `capabilities` in Ollama's words:
    completion, tools, vision, thinking, embedding. `details`: an Ollama's own row of the model.
    """

    id: str
    context: int | None = None
    output: int | None = None
    capabilities: frozenset[str] | None = None
    details: Mapping[str, Json] = field(default_factory=dict)


def rows_of(body: Json, field: str) -> list[dict[str, Json]]:
    """The objects of a list of models: the body itself, or under `field`; [] for anything else."""
    rows = body.get(field) if isinstance(body, dict) else body
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def whole(value: Json) -> int | None:
    """A whole number above 0; None for anything else."""
    return value if type(value) is int and value > 0 else None
