"""OpenAI and everyone who speaks as it does: Together, A4F, Groq, OpenRouter, vLLM, llama.cpp."""

from __future__ import annotations

from typing import ClassVar

from chat.request import ChatRequest, Json
from providers.base import HttpProvider
from providers.embeddings import EmbeddingRequest, Embeddings, checked
from providers.model_info import LISTED, ModelInfo, rows_of, whole


class OpenAiCompatibleProvider(HttpProvider):
    kind: ClassVar[str] = "openai"

    def url(self, model: str, stream: bool) -> str:
        return self._base + "/chat/completions"

    def adapt(self, body: dict[str, Json], request: ChatRequest) -> dict[str, Json]:
        if self.row.prefill == "flags" and request.messages[-1].role == "assistant":
            return {**body, "continue_final_message": True, "add_generation_prompt": False}
        return body

    def model_infos(self, body: Json) -> list[ModelInfo]:
        # Together answers a bare list, everyone else {"data": [...]}.
        return [
            ModelInfo(
                row["id"],
                _context(row),
                whole(row.get("max_output")),
                _capabilities(row),
                LISTED | {"json"},
            )
            for row in rows_of(body, "data")
            if isinstance(row.get("id"), str)
        ]

    async def embed(self, request: EmbeddingRequest, model: str) -> Embeddings:
        """As floats, which every host has; base64 is for callers."""
        single = len(request.inputs) == 1
        body: dict[str, Json] = {
            **request.extra,
            "model": model,
            "input": request.inputs[0] if single else list(request.inputs),
            "encoding_format": "float",
        }
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        answer = await self.asked("/embeddings", body)
        rows = answer.get("data")
        vectors = None
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            ordered = sorted(rows, key=lambda row: whole(row.get("index")) or 0)
            vectors = [row.get("embedding") for row in ordered]
        usage = answer.get("usage")
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        return Embeddings(checked(vectors, request), whole(tokens))


def _context(row: dict[str, Json]) -> int | None:
    """OpenRouter, Together and Groq, vLLM, and llama.cpp each have a word for it."""
    meta = row.get("meta")
    return (
        whole(row.get("context_length"))
        or whole(row.get("context_window"))
        or whole(row.get("max_model_len"))
        or (
            whole(meta.get("n_ctx")) or whole(meta.get("n_ctx_train"))
            if isinstance(meta, dict)
            else None
        )
    )


def _capabilities(row: dict[str, Json]) -> frozenset[str] | None:
    """OpenRouter lists modalities and parameters, Together a type; others say nothing."""
    if row.get("type") == "embedding":
        return frozenset({"embedding"})
    architecture, parameters = row.get("architecture"), row.get("supported_parameters")
    if not isinstance(architecture, dict) or not isinstance(parameters, list):
        return None
    found = {"completion"}
    seen = architecture.get("input_modalities")
    if isinstance(seen, list) and "image" in seen:
        found.add("vision")
    if "tools" in parameters:
        found.add("tools")
    if "reasoning" in parameters:
        found.add("thinking")
    if "structured_outputs" in parameters or "response_format" in parameters:
        found.add("json")
    return frozenset(found)
