"""What a job asks: kept as JSON when it is put in, parsed again when its turn comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import orjson

from chat.request import ChatRequest, Json
from dialects.anthropic import AnthropicDialect
from dialects.base import InboundDialect
from dialects.complete import CompleteDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect, OllamaGenerateDialect
from dialects.openai import OpenAiDialect
from dialects.openai.responses import ResponsesDialect
from gateway.engine.ports import Asked, Caller
from gateway.jobs.collect import CollectDialect

DIALECTS: Mapping[str, InboundDialect] = {
    "complete": CompleteDialect(),
    "openai": OpenAiDialect(),
    "responses": ResponsesDialect(),
    "anthropic": AnthropicDialect(),
    "ollama": OllamaDialect(),
    "ollama-generate": OllamaGenerateDialect(),
    "gemini": GeminiDialect(),
}
SEARCHED = 4000
"""Characters of a question that a search looks at."""


def kept(dialect: str, body: Mapping[str, Json], models: tuple[str, ...] = ()) -> str:
    return orjson.dumps({"dialect": dialect, "body": body, "models": models}).decode()


def dialect_of(body: str) -> str:
    name: str = orjson.loads(body)["dialect"]
    return name


def words(request: ChatRequest) -> str:
    """The last thing that a person said."""
    said = next((one.text for one in reversed(request.messages) if one.role == "user"), "")
    # PostgreSQL keeps no null characters.
    return said[:SEARCHED].replace("\0", "")


def asked(body: str, caller: Caller) -> Asked:
    """Raises BadRequest where a later version reads what an earlier one took."""
    whole = orjson.loads(body)
    dialect = DIALECTS[whole["dialect"]]
    request = replace(dialect.parse_request(whole["body"]), stream=True)
    return Asked(
        CollectDialect(dialect), request, whole["body"], tuple(whole["models"]), caller=caller
    )
