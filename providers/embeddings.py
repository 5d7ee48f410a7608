"""Embeddings in no vendor's words: texts in, vectors out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chat.errors import BadRequest, Broken
from chat.request import Json


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """`inputs`: texts, or lists of token numbers, which only OpenAI's language knows.
    `task`: Gemini's taskType. `truncate`: Ollama's. `extra`: sent to OpenAI's language only."""

    model: str
    inputs: tuple[str | list[int], ...]
    dimensions: int | None = None
    task: str | None = None
    truncate: bool | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)

    def texts(self) -> tuple[str, ...]:
        """Raises BadRequest for token numbers: another vendor's tokens mean nothing here."""
        found = tuple(item for item in self.inputs if isinstance(item, str))
        if len(found) < len(self.inputs):
            raise BadRequest(
                "input has token numbers, which this model's provider does not take; send text.",
                param="input",
            )
        return found


@dataclass(frozen=True, slots=True)
class Embeddings:
    """`input_tokens` is None where the upstream counts none."""

    vectors: Sequence[Sequence[float]]
    input_tokens: int | None


def checked(vectors: Json, request: EmbeddingRequest) -> list[list[float]]:
    """One vector of finite numbers for each input. Raises Broken for anything else."""
    if not isinstance(vectors, list) or len(vectors) != len(request.inputs):
        count = len(vectors) if isinstance(vectors, list) else "no"
        raise Broken(
            f"The upstream gave {count} vectors for {len(request.inputs)} inputs.",
            code="malformed",
        )
    for vector in vectors:
        if not isinstance(vector, list) or not vector or not all(map(_finite, vector)):
            raise Broken("The upstream gave a vector that is no list of numbers.", code="malformed")
    return vectors


def _finite(value: Json) -> bool:
    return type(value) in (float, int) and math.isfinite(value)
