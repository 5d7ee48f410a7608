"""Anthropic: its version is pinned, since the next one refuses temperature (PROTOCOLS 0.1)."""

from __future__ import annotations

from typing import ClassVar

from chat.request import Json
from dialects.anthropic.models import claude
from providers.base import HttpProvider
from providers.model_info import ModelInfo, rows_of, whole

VERSION = "2023-06-01"
MANAGING = "context-management-2025-06-27"
SYSTEM_BETWEEN = "mid-conversation-system-2026-04-07"
"""Betas without which Anthropic refuses what Claude Code's bodies have (PROTOCOLS 7.3). A caller's
own list is not passed on: no header of his reaches an upstream (docs/security.md)."""


class AnthropicProvider(HttpProvider):
    kind: ClassVar[str] = "anthropic"

    def url(self, model: str, stream: bool) -> str:
        return self._base + "/messages"

    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.row.key or "", "anthropic-version": VERSION}

    def wanting(self, body: dict[str, Json]) -> bytes:
        betas: list[str] = []
        if "context_management" in body:
            betas.append(MANAGING)
        messages = body.get("messages")
        if isinstance(messages, list) and any(
            isinstance(message, dict) and message.get("role") == "system" for message in messages
        ):
            betas.append(SYSTEM_BETWEEN)
        return f"anthropic-beta: {','.join(betas)}\r\n".encode() if betas else b""

    def continues(self, model: str) -> bool:
        """Since 4.6 Anthropic refuses a message of the assistant's at the end."""
        known = claude(model)
        return known is not None and known[1] < (4, 6)

    def models_url(self) -> str:
        return self._base + "/models?limit=1000"

    def model_infos(self, body: Json) -> list[ModelInfo]:
        return [
            ModelInfo(row["id"], whole(row.get("max_input_tokens")), whole(row.get("max_tokens")))
            for row in rows_of(body, "data")
            if isinstance(row.get("id"), str)
        ]
