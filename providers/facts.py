"""What is known of models whose upstream does not say: context and answer in tokens, and what
they can do.

An upstream's own word wins over this table. Figures are those of the vendors' model pages; a
family that is not here gets the careful defaults.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from providers.model_info import ModelInfo

CHAT: Final = frozenset({"completion", "tools"})
SEES: Final = CHAT | {"vision"}
THINKS: Final = SEES | {"thinking"}
EMBEDS: Final = frozenset({"embedding"})

DEFAULT_CONTEXT: Final = 8192
DEFAULT_OUTPUT: Final = 4096

Known = tuple[int, int, frozenset[str]]
"""Context, longest answer, capabilities."""

_FAMILIES: Final[tuple[tuple[str, Known], ...]] = (
    (r"gpt-5", (400_000, 128_000, THINKS)),
    (r"gpt-4\.1", (1_047_576, 32_768, SEES)),
    (r"gpt-4o|chatgpt-4o", (128_000, 16_384, SEES)),
    (r"gpt-4-turbo", (128_000, 4096, SEES)),
    (r"gpt-4", (8192, 8192, CHAT)),
    (r"gpt-3\.5", (16_385, 4096, CHAT)),
    (r"gpt-oss", (131_072, 32_768, CHAT | {"thinking"})),
    (r"o[134](-|$)", (200_000, 100_000, THINKS)),
    (r"claude-3-(?!7)", (200_000, 8192, SEES)),
    (r"claude", (200_000, 64_000, THINKS)),
    (r"gemini-(1\.5|2\.0)", (1_048_576, 8192, SEES)),
    (r"gemini", (1_048_576, 65_536, THINKS)),
    (r"(meta-)?llama-?3\.[123]", (131_072, 8192, CHAT)),
    (r"smollm2", (8192, 4096, frozenset({"completion"}))),
)
_EMBEDDING: Final = re.compile(r"embed|(^|[-/])(bge|gte|e5|minilm)", re.IGNORECASE)


def completed(info: ModelInfo) -> ModelInfo:
    """`info` with what the table knows in the places that the upstream left empty."""
    name = info.id.rpartition("/")[2].lower()
    if _EMBEDDING.search(info.id):
        known: Known = (DEFAULT_CONTEXT, 0, EMBEDS)
    else:
        known = next(
            (known for pattern, known in _FAMILIES if re.match(pattern, name)),
            (DEFAULT_CONTEXT, DEFAULT_OUTPUT, CHAT),
        )
    context, output, capabilities = known
    context = info.context or context
    return replace(
        info,
        context=context,
        output=info.output if info.output is not None else min(output, context),
        capabilities=info.capabilities if info.capabilities is not None else capabilities,
    )
