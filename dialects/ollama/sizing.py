"""How large a context to ask for.

Ollama cuts a prompt that is longer than `num_ctx` in silence, and loads the model again whenever
`num_ctx` changes. So it is always sent, sized from our own estimate, in few steps (PROTOCOLS 5.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from chat.request import Json

SMALLEST = 4096
DEFAULT_ANSWER = 1024
"""Tokens kept for an answer whose length nobody limited."""
IMAGE_TOKENS = 1024
BYTES_PER_TOKEN = 3
"""On the safe side for English (about 4), and for scripts of three bytes a character."""


def steps(max_context: int) -> tuple[int, ...]:
    """4096 and its doubles below `max_context`, then `max_context` itself."""
    found = []
    step = SMALLEST
    while step < max_context:
        found.append(step)
        step *= 2
    return (*found, max(SMALLEST, max_context))


def prompt_tokens(messages: Sequence[Json], tools: Json) -> int:
    """An estimate from the body as Ollama reads it, whoever wrote it."""
    size = images = 0
    for message in messages:
        if not isinstance(message, dict):
            continue
        size += _bytes_in(message.get("content")) + _bytes_in(message.get("thinking"))
        calls = message.get("tool_calls")
        if calls:
            size += len(orjson.dumps(calls))
        pictures = message.get("images")
        if isinstance(pictures, list):
            images += len(pictures)
    if tools:
        size += len(orjson.dumps(tools))
    return -(-size // BYTES_PER_TOKEN) + images * IMAGE_TOKENS


def context_for(tokens: int, sizes: Sequence[int]) -> int:
    """The smallest of `sizes` that holds them, else the largest."""
    return next((size for size in sizes if size >= tokens), sizes[-1])


def _bytes_in(text: Json) -> int:
    if not isinstance(text, str):
        return 0
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
