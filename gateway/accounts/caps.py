"""The longest answer that a caller may have, written into his question.

It stands in two places: in the request that is translated, and in the body that passes as it is
to an upstream of the same language.
"""

from __future__ import annotations

from dataclasses import replace

from chat.request import Json
from dialects.gemini.spelling import camel
from gateway.engine.ports import Asked


def cap(asked: Asked, limit: int) -> None:
    """Asks for `limit` tokens, where the caller asks for more or says nothing."""
    request = asked.request
    given = request.sampling.max_tokens
    if given is not None and given <= limit:
        return
    asked.request = replace(request, sampling=replace(request.sampling, max_tokens=limit))
    asked.body = _body(asked.dialect.name, asked.body, limit)


def _body(language: str, body: dict[str, Json], limit: int) -> dict[str, Json]:
    match language:
        case "openai":
            left = {name: value for name, value in body.items() if name != "max_completion_tokens"}
            return {**left, "max_tokens": limit}
        case "anthropic" | "complete":
            return {**body, "max_tokens": limit}
        case "responses":
            return {**body, "max_output_tokens": limit}
        case "ollama" | "ollama-generate":
            options = body.get("options")
            options = options if isinstance(options, dict) else {}
            return {**body, "options": {**options, "num_predict": limit}}
        case "gemini":
            return _gemini(body, limit)
        case _:
            return body


def _gemini(body: dict[str, Json], limit: int) -> dict[str, Json]:
    """Several spellings are taken; one of them stays, so that none can win over the cap."""
    sent = camel(body)
    config = sent.get("generationConfig")
    config = camel(config) if isinstance(config, dict) else {}
    return {**sent, "generationConfig": {**config, "maxOutputTokens": limit}}
