"""Ollama, by its own /api/chat: its OpenAI door hides errors in mid-stream (PROTOCOLS 0.11)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from chat.errors import UpstreamError
from chat.request import Json
from dialects.base import OutboundDialect
from providers import http1
from providers.base import CHECK_S, HttpProvider, ProviderRow
from providers.embeddings import EmbeddingRequest, Embeddings, checked
from providers.model_info import ModelInfo, rows_of, whole

MAX_SHOWN = 64
"""Models asked about at one look; the others at the next."""
AT_ONCE = 4


class OllamaProvider(HttpProvider):
    kind: ClassVar[str] = "ollama"

    def __init__(
        self,
        row: ProviderRow,
        dialect: OutboundDialect,
        client: http1.Client,
        *,
        idle_s: float = 60,
        one_shot_s: float = 600,
    ) -> None:
        super().__init__(row, dialect, client, idle_s=idle_s, one_shot_s=one_shot_s)
        self._shown: dict[tuple[str, Json], ModelInfo] = {}
        """By name and digest."""

    def url(self, model: str, stream: bool) -> str:
        return self._base + "/api/chat"

    def models_url(self) -> str:
        return self._base + "/api/tags"

    def model_infos(self, body: Json) -> list[ModelInfo]:
        return [
            ModelInfo(
                row["model"].removesuffix(":latest"),
                capabilities=_capabilities(row.get("capabilities")),
                details=row,
            )
            for row in rows_of(body, "models")
            if isinstance(row.get("model"), str)
        ]

    async def models(self) -> Sequence[ModelInfo]:
        """The tags, with what /api/show says of each: the list alone leaves out the context, and
        in older versions what a model can. Asked once for each model. Raises UpstreamError."""
        infos = await super().models()
        fresh = [info for info in infos if _identity(info) not in self._shown]
        for start in range(0, min(len(fresh), MAX_SHOWN), AT_ONCE):
            some = fresh[start : start + AT_ONCE]
            for info, told in zip(some, await asyncio.gather(*map(self._told, some)), strict=True):
                if told is not None:
                    self._shown[_identity(info)] = told
        return [self._shown.get(_identity(info), info) for info in infos]

    async def _told(self, info: ModelInfo) -> ModelInfo | None:
        """None where it does not say just now."""
        try:
            async with asyncio.timeout(CHECK_S):
                said = await self.show(info.id)
        except (UpstreamError, TimeoutError):
            return None
        facts = said.get("model_info")
        contexts = [
            length
            for name, value in (facts.items() if isinstance(facts, dict) else ())
            if name.endswith(".context_length") and (length := whole(value)) is not None
        ]
        return replace(
            info,
            context=contexts[0] if contexts else info.context,
            capabilities=_capabilities(said.get("capabilities")) or info.capabilities,
        )

    async def show(self, model: str) -> dict[str, Json]:
        """The model's own /api/show. Raises UpstreamError, 404 when it is not there."""
        return await self.asked("/api/show", {"model": model})

    async def embed(self, request: EmbeddingRequest, model: str) -> Embeddings:
        body: dict[str, Json] = {"model": model, "input": list(request.texts())}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if request.truncate is not None:
            body["truncate"] = request.truncate
        answer = await self.asked("/api/embed", body)
        tokens = answer.get("prompt_eval_count")
        return Embeddings(
            checked(answer.get("embeddings"), request), tokens if isinstance(tokens, int) else None
        )


def _identity(info: ModelInfo) -> tuple[str, Json]:
    return info.id, info.details.get("digest")


def _capabilities(said: Json) -> frozenset[str] | None:
    if not isinstance(said, list):
        return None
    return frozenset(word for word in said if isinstance(word, str))
