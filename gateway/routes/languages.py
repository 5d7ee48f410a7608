"""In which language a failure at a path is told: the one in which its callers read."""

from __future__ import annotations

from aiohttp import web

from dialects.anthropic import AnthropicDialect
from dialects.base import InboundDialect
from dialects.gemini import GeminiDialect
from dialects.ollama import OllamaDialect
from dialects.openai import OpenAiDialect
from gateway.routes.ai_request import AiRequestDialect

ANTHROPIC = AnthropicDialect()
GEMINI = GeminiDialect()
OLLAMA = OllamaDialect()
OPENAI = OpenAiDialect()
AI_REQUEST = AiRequestDialect()

PREFIXES: tuple[tuple[str, InboundDialect], ...] = (
    ("/api/", OLLAMA),
    ("/v1/messages", ANTHROPIC),
    ("/v1beta/", GEMINI),
    ("/v1alpha/", GEMINI),
    ("/v1/", OPENAI),
    ("/chat/completions", OPENAI),
    ("/models", OPENAI),
    ("/ai_request", AI_REQUEST),
    ("/get_request/", AI_REQUEST),
)


def dialect_of(request: web.Request) -> InboundDialect | None:
    """None for our own."""
    path = request.path
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    if path.startswith("/v1/models"):
        # Three vendors' clients ask here; they differ in what they say of themselves.
        headers = request.headers
        if ":" in path and request.method == "POST":
            return GEMINI
        if "x-goog-api-key" in headers or "x-goog-api-client" in headers:
            return GEMINI
        return ANTHROPIC if "anthropic-version" in headers else OPENAI
    return language_of(path)


def language_of(path: str) -> InboundDialect | None:
    """By the path alone."""
    return next((dialect for prefix, dialect in PREFIXES if path.startswith(prefix)), None)
