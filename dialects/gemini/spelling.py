"""Gemini's field names: camelCase, and snake_case wherever a client writes it so.

Google's servers take both for every field, and its Python SDK mixes them in one body
(PROTOCOLS 4.1), so every object of a caller is read through `camel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from chat.request import Json


@lru_cache(maxsize=1024)
def camel_name(name: str) -> str:
    """`max_output_tokens` -> `maxOutputTokens`; a leading underscore is dropped."""
    head, *rest = name.lstrip("_").split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def camel(body: Mapping[str, Json]) -> dict[str, Json]:
    """This one object with its keys in camelCase; where both spellings stand, camelCase wins."""
    if not any("_" in name for name in body):
        return dict(body)
    renamed = {camel_name(name): value for name, value in body.items() if "_" in name}
    return renamed | {name: value for name, value in body.items() if "_" not in name}
