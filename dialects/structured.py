"""A format of answers by words, for models whose hosts enforce none."""

from __future__ import annotations

from chat.request import ResponseFormat
from dialects.ascii_json import ascii_json

_ONLY_JSON = "Answer with one JSON object and nothing else: no other words, no code fence."


def in_words(wanted: ResponseFormat) -> str:
    """For the system prompt."""
    if wanted.schema is None:
        return _ONLY_JSON
    schema = ascii_json(dict(wanted.schema)).decode("ascii")
    told = "Answer with JSON that is valid against this JSON Schema, and nothing else: no other "
    return f"{told}words, no code fence.\n{schema}"
