"""The doors where models are asked, each in a language of its own."""

from __future__ import annotations

from gateway.openapi.piece import NDJSON, SSE, Operation

HI = [{"role": "user", "content": "Name three colours."}]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Name three colours."}]}]}
EMBED = "openai/text-embedding-3-small"
SSE_ABOUT = "With `stream` an SSE stream; without it one JSON body."

CHAT = "Chat"
EMBEDDINGS = "Embeddings"


def _chat(path: str, summary: str, body: str, example: object, **more: object) -> Operation:
    fields = {"answer": "Object", "streams": SSE, "about": SSE_ABOUT, **more}
    return Operation("POST", path, CHAT, summary, body, example, asks=True, **fields)  # type: ignore[arg-type]


OPERATIONS: tuple[Operation, ...] = (
    _chat(
        "/complete",
        "Our own language: one message in, an SSE stream out",
        "Complete",
        {"message": "Name three colours."},
        answer="Completed",
        about="An SSE stream, or one JSON body with `stream: false`. Each event has `message`, "
        "`timestamp`, `user_id` and `model`; the last one adds `done` and either `finish_reason`, "
        "`usage` and `route`, or `error`.",
    ),
    Operation(
        "GET",
        "/complete",
        CHAT,
        "The same stream for an EventSource, the fields in the query",
        answer="",
        streams=SSE,
        asks=True,
        query={
            "message": {"type": "string", "minLength": 1},
            "user_id": {"type": "string", "maxLength": 256},
            "model": {"type": "string", "minLength": 1},
            "max_tokens": {"type": "integer", "minimum": 1},
            "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        },
        about="`Accept: text/event-stream` is required. The last event has `done`: close the "
        "EventSource then. One that comes back sends Last-Event-ID and is told 204, so that "
        "nothing is asked twice.",
    ),
    _chat(
        "/v1/chat/completions",
        "OpenAI's chat completions",
        "ChatCompletion",
        {"model": "auto", "messages": HI},
    ),
    _chat(
        "/chat/completions",
        "OpenAI's chat completions, where `provider` may name the provider",
        "SeedChat",
        {"model": "auto", "messages": HI},
    ),
    _chat(
        "/chat/completions/stream",
        "The same, always as a stream",
        "SeedChat",
        {"model": "auto", "messages": HI},
        about="",
        answer="",
    ),
    _chat(
        "/chat/{provider}",
        "A provider's default model, or its fallback models",
        "ProviderChat",
        {"messages": HI},
        about="An SSE stream as of POST /complete. The provider chooses the model.",
    ),
    _chat(
        "/v1/responses",
        "OpenAI's responses, without anything kept between two of them",
        "Responses",
        {"model": "auto", "input": "Name three colours."},
    ),
    _chat(
        "/v1/messages",
        "Anthropic's messages",
        "Messages",
        {"model": "auto", "max_tokens": 100, "messages": HI},
    ),
    Operation(
        "POST",
        "/v1/messages/count_tokens",
        CHAT,
        "Our own estimate of a question's tokens",
        "CountTokens",
        {"model": "auto", "messages": HI},
        "Counted",
        asks=True,
    ),
    _chat(
        "/api/chat",
        "Ollama's chat",
        "OllamaChat",
        {"model": "auto", "messages": HI},
        streams=NDJSON,
        about="JSON lines, or one body with `stream: false`.",
    ),
    _chat(
        "/api/generate",
        "Ollama's generate",
        "OllamaGenerate",
        {"model": "auto", "prompt": "Name three colours."},
        streams=NDJSON,
        about="JSON lines, or one body with `stream: false`.",
    ),
    *(
        _chat(
            path,
            "Gemini's generateContent, streamGenerateContent, countTokens and embeddings",
            "Gemini",
            GEMINI,
            about="The model and the method stand in the path: `auto:generateContent`.",
        )
        for path in (
            "/v1/models/{call}",
            "/v1beta/models/{call}",
            "/v1alpha/models/{call}",
            # Without models/, where a model's name has a slash.
            "/v1beta/{call}",
        )
    ),
    Operation(
        "POST",
        "/v1/embeddings",
        EMBEDDINGS,
        "OpenAI's embeddings",
        "Embeddings",
        {"model": EMBED, "input": "a text"},
        asks=True,
    ),
    Operation(
        "POST",
        "/api/embed",
        EMBEDDINGS,
        "Ollama's embeddings",
        "OllamaEmbed",
        {"model": EMBED, "input": ["a text", "another"]},
        asks=True,
    ),
    Operation(
        "POST",
        "/api/embeddings",
        EMBEDDINGS,
        "The older door of them: one prompt, one vector",
        "OllamaEmbedding",
        {"model": EMBED, "prompt": "a text"},
        asks=True,
    ),
)
