"""The same vectors as each kind of upstream that has embeddings would send them."""

from __future__ import annotations

from typing import Any

import orjson

from tests.doors.upstreams import JSON
from tests.replay.server import Play

VECTORS = [[0.25, -1.5, 3.0], [1.0, 0.5, -0.125]]
"""Halves and quarters, which float32 holds exactly."""
KINDS = ("openai", "gemini", "ollama")


def answer(kind: str, vectors: list[list[float]]) -> Play:
    body: dict[str, Any]
    if kind == "openai":
        rows = [{"object": "embedding", "index": n, "embedding": v} for n, v in enumerate(vectors)]
        # Not in order: the index says which is whose.
        body = {"data": rows[::-1], "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    elif kind == "gemini":
        body = {"embeddings": [{"values": vector} for vector in vectors]}
    else:
        body = {"model": "m", "embeddings": vectors, "prompt_eval_count": 4}
    return Play(orjson.dumps(body), content_type=JSON)
