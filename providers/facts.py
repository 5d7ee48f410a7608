"""What is known of models whose upstream does not say: context and answer in tokens, and what
they can and cannot do.

The owner's word ([models] in gateway.toml) wins over an upstream's, and that one over this table.
Figures are those of the vendors' model pages. What a family has in some versions only stands in
neither `has` nor `lacks`: nobody is refused for what is not known. A family that is not here gets
careful figures to show, and no limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from chat.request import Json
from providers.model_info import ABILITIES, Abilities, ModelInfo

CHAT: Final = frozenset({"completion", "tools"})
SEES: Final = CHAT | {"vision"}
THINKS: Final = SEES | {"thinking"}
EMBEDS: Final = frozenset({"embedding"})
BLIND: Final = frozenset({"vision"})
NO_THOUGHT: Final = frozenset({"thinking"})

DEFAULT_CONTEXT: Final = 8192
DEFAULT_OUTPUT: Final = 4096


@dataclass(frozen=True, slots=True)
class Family:
    """`firm`: nobody gives these models more context than this."""

    context: int
    output: int
    has: frozenset[str]
    lacks: frozenset[str] = frozenset()
    firm: bool = True


UNKNOWN: Final = Family(DEFAULT_CONTEXT, DEFAULT_OUTPUT, CHAT, firm=False)
EMBEDDING: Final = Family(DEFAULT_CONTEXT, 0, EMBEDS, firm=False)

# A Claude before 3.7 and a Gemini before 2.5 do not think, but the wish for it is left out of
# what they are sent (docs/dialects.md): they are not known to refuse it.
_FAMILIES: Final[tuple[tuple[str, Family], ...]] = (
    (r"gpt-5[.\d]*-chat", Family(128_000, 16_384, SEES, firm=False)),
    (r"gpt-5", Family(400_000, 128_000, THINKS, firm=False)),
    (r"gpt-4\.1", Family(1_047_576, 32_768, SEES, NO_THOUGHT)),
    (r"gpt-4o(-mini)?(-20\d\d-\d\d-\d\d)?$", Family(128_000, 16_384, SEES, NO_THOUGHT)),
    # Audio, search and chat variants: some take no tools, some no pictures.
    (r"gpt-4o|chatgpt-4o", Family(128_000, 16_384, SEES)),
    (r"gpt-4-turbo", Family(128_000, 4096, SEES, NO_THOUGHT)),
    (r"gpt-4-32k", Family(32_768, 8192, CHAT, BLIND | NO_THOUGHT)),
    (r"gpt-4(-0\d{3})?$", Family(8192, 8192, CHAT, BLIND | NO_THOUGHT)),
    (r"gpt-3\.5", Family(16_385, 4096, CHAT, BLIND | NO_THOUGHT)),
    (r"gpt-oss", Family(131_072, 32_768, CHAT | {"thinking"}, BLIND)),
    (
        r"o1-(mini|preview)",
        Family(128_000, 65_536, frozenset({"completion", "thinking"}), BLIND | {"tools"}),
    ),
    (r"o3-mini", Family(200_000, 100_000, CHAT | {"thinking"}, BLIND)),
    (r"o[134](-|$)", Family(200_000, 100_000, THINKS)),
    (r"claude-3-(opus|sonnet|haiku)", Family(200_000, 4096, SEES)),
    (r"claude-3-5", Family(200_000, 8192, SEES)),
    (r"claude-opus-4(-1)?(-20\d{6})?$", Family(200_000, 32_000, THINKS, firm=False)),
    # Later ones take a million with a beta, or always.
    (r"claude", Family(200_000, 64_000, THINKS, firm=False)),
    (r"gemini-1\.5-pro", Family(2_097_152, 8192, SEES)),
    (r"gemini-(1\.5|2\.0)", Family(1_048_576, 8192, SEES)),
    (r"gemini", Family(1_048_576, 65_536, THINKS, firm=False)),
    (r"(meta-)?llama-?3\.2.*vision", Family(131_072, 8192, SEES)),
    (r"(meta-)?llama-?3\.[123]", Family(131_072, 8192, CHAT, BLIND)),
    (r"smollm2", Family(8192, 4096, frozenset({"completion"}), BLIND)),
)
_EMBEDDING: Final = re.compile(r"embed|(^|[-/])(bge|gte|e5|minilm)", re.IGNORECASE)


def family(model: str) -> Family:
    if _EMBEDDING.search(model):
        return EMBEDDING
    name = model.rpartition("/")[2].lower()
    return next((known for pattern, known in _FAMILIES if re.match(pattern, name)), UNKNOWN)


def completed(info: ModelInfo, given: Mapping[str, Json] | None = None) -> ModelInfo:
    """`info` with what the table knows in the places that the upstream left empty; `given` is
    the owner's word."""
    known, given = family(info.id), given or {}
    context = given.get("context") or info.context or known.context
    output = known.output if info.output is None else info.output
    said = known.has if info.capabilities is None else info.capabilities
    return replace(
        info,
        context=context,
        output=min(output, context) if info.output is None else output,
        capabilities=(said | {word for word in ABILITIES if given.get(word) is True})
        - {word for word in ABILITIES if given.get(word) is False},
    )


def abilities(info: ModelInfo, given: Mapping[str, Json] | None = None) -> Abilities:
    """What is certain of a model; None where nobody says."""
    known, given = family(info.id), given or {}

    def can(word: str) -> bool | None:
        owner = given.get(word)
        if owner is not None:
            return bool(owner)
        if info.capabilities is not None and word in info.spoken_of:
            return word in info.capabilities
        if word in known.lacks:
            return False
        return True if known.firm and word in known.has else None

    return Abilities(
        context=given.get("context") or info.context or (known.context if known.firm else None),
        tools=can("tools"),
        vision=can("vision"),
        json=can("json"),
        thinking=can("thinking"),
        prefill=given.get("prefill"),
    )
