"""Schemas of bodies. What a dialect passes on unread is allowed beside the fields named."""

from __future__ import annotations

from typing import Final

from chat.request import Json

TEXT: Final[Json] = {"type": "string"}
OBJECT: Final[Json] = {"type": "object"}
NAME: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 300}
TOKENS: Final[Json] = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
MODEL: Final[Json] = {
    **NAME,
    "description": "A target (openai/gpt-4o), a bare name, an alias, or auto.",
}


def thing(required: list[str], /, **properties: Json) -> dict[str, Json]:
    return {"type": "object", "required": required, "properties": properties}


def closed(required: list[str], /, **properties: Json) -> dict[str, Json]:
    """Unknown fields are refused."""
    return {**thing(required, **properties), "additionalProperties": False}


def several(item: Json, least: int = 1) -> dict[str, Json]:
    return {"type": "array", "items": item, "minItems": least}


TURN = closed(["role", "content"], role={"enum": ["system", "user", "assistant"]}, content=TEXT)
MESSAGE = thing(
    ["role", "content"],
    role={"enum": ["system", "developer", "user", "assistant", "tool"]},
    content={"anyOf": [TEXT, several(thing(["type"], type=TEXT))]},
)
FORMAT: Final[Json] = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}},
}
USAGE = thing(
    [],
    input_tokens={"type": ["integer", "null"]},
    output_tokens={"type": ["integer", "null"]},
    total_tokens={"type": ["integer", "null"]},
    cached_tokens={"type": ["integer", "null"]},
    reasoning_tokens={"type": ["integer", "null"]},
)
CHAT = {
    "model": MODEL,
    "messages": several(MESSAGE),
    "stream": {"type": "boolean"},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "max_completion_tokens": TOKENS,
    "stop": {"anyOf": [TEXT, several(TEXT)]},
    "seed": {"type": "integer"},
    "response_format": FORMAT,
    "tools": {"type": "array", "items": thing(["type", "function"], type=TEXT, function=OBJECT)},
}
RATE: Final[Json] = {"type": ["string", "null"], "examples": ["100/hour"]}
COUNT: Final[Json] = {"type": ["integer", "null"], "minimum": 1}
MONEY: Final[Json] = {"type": ["number", "string", "null"]}
TERMS: dict[str, Json] = {
    "name": {"type": "string", "minLength": 1, "maxLength": 200},
    "allowed_request_types": {"type": "array", "items": TEXT},
    "rate_limit": RATE,
    "token_limit": RATE,
    "max_tokens": COUNT,
    "models": {"type": "array", "items": TEXT, "description": "Patterns, as openai/*."},
    "priority": {"type": "integer", "minimum": -100, "maximum": 100},
    "concurrency": COUNT,
    "budget_day": MONEY,
    "budget_month": MONEY,
    "tokens_day": COUNT,
    "tokens_month": COUNT,
    "expires": {"type": ["string", "null"]},
}

SCHEMAS: dict[str, Json] = {
    "Object": OBJECT,
    "Complete": {
        "type": "object",
        "properties": {
            "message": {"type": "string", "minLength": 1, "pattern": "\\S"},
            "messages": several(TURN, 0),
            "user_id": {"type": "string", "maxLength": 256},
            "model": MODEL,
            "max_tokens": TOKENS,
            "temperature": {"type": "number", "minimum": 0, "maximum": 2},
            "stream": {"type": "boolean", "default": True},
        },
        "required": ["message"],
    },
    "Completed": thing(
        ["message", "model", "done"],
        message=TEXT,
        timestamp={"type": "string", "format": "date-time"},
        user_id=TEXT,
        model=TEXT,
        done={"const": True},
        finish_reason={"type": ["string", "null"]},
        usage=USAGE,
        route=OBJECT,
    ),
    "ChatCompletion": thing(["model", "messages"], **CHAT),
    "SeedChat": thing(
        ["model", "messages"],
        **CHAT,
        provider={"type": "string", "description": "Names the provider beside the model."},
    ),
    "ProviderChat": thing(
        [], messages=several(TURN), message={"type": "string", "minLength": 1, "pattern": "\\S"}
    ),
    "Responses": thing(
        ["model", "input"],
        model=MODEL,
        input={"anyOf": [TEXT, several(OBJECT)]},
        instructions=TEXT,
        stream={"type": "boolean"},
        max_output_tokens=TOKENS,
    ),
    "Messages": thing(
        ["model", "messages", "max_tokens"],
        model=MODEL,
        messages=several(
            thing(["role", "content"], role={"enum": ["user", "assistant"]}, content={})
        ),
        max_tokens=TOKENS,
        stream={"type": "boolean"},
        system={"anyOf": [TEXT, several(OBJECT)]},
    ),
    "CountTokens": thing(["model", "messages"], model=MODEL, messages=several(OBJECT)),
    "Counted": thing(["input_tokens"], input_tokens={"type": "integer"}),
    "OllamaChat": thing(
        ["model"],
        model=MODEL,
        messages={"type": "array", "items": MESSAGE},
        stream={"type": "boolean"},
    ),
    "OllamaGenerate": thing(
        ["model"], model=MODEL, prompt=TEXT, system=TEXT, stream={"type": "boolean"}
    ),
    "OllamaNamed": thing(["model"], model=MODEL),
    "Embeddings": thing(
        ["model", "input"],
        model=MODEL,
        input={"anyOf": [{"type": "string", "minLength": 1}, several({**TEXT, "minLength": 1})]},
        encoding_format={"enum": ["float", "base64"]},
        dimensions={"type": "integer", "minimum": 1},
    ),
    "OllamaEmbed": thing(["model", "input"], model=MODEL, input={"anyOf": [TEXT, several(TEXT)]}),
    "OllamaEmbedding": thing(["model", "prompt"], model=MODEL, prompt=TEXT),
    "Gemini": thing([], contents=several(OBJECT), generationConfig=OBJECT),
    "Models": thing(
        ["object", "data"],
        object={"const": "list"},
        data={"type": "array", "items": thing(["id"], id=TEXT, owned_by=TEXT)},
    ),
    "Feedback": closed(
        ["request_id"],
        request_id={"type": "string", "minLength": 1, "maxLength": 64},
        value={"enum": ["good", "bad", "other_tier", "score"]},
        score={"type": "number", "minimum": 0, "maximum": 1},
        better_model={"type": "string", "minLength": 1, "maxLength": 200},
        comment={"type": "string", "maxLength": 4000},
    ),
    "Code": closed(["name"], **TERMS),
    "CodeChange": closed([], **TERMS),
    "Grace": closed([], grace_s={"type": "number", "minimum": 0, "maximum": 7_776_000}),
    "Row": thing(
        ["request_id", "at", "outcome"],
        request_id=TEXT,
        at={"type": "number", "description": "When it ended, seconds since 1970."},
        door=TEXT,
        caller=TEXT,
        outcome={"enum": ["finished", "failed", "cancelled"]},
        target=TEXT,
        attempts={"type": "array", "items": OBJECT},
    ),
    "Rows": thing(
        ["requests", "next", "source"],
        requests={"type": "array", "items": {"$ref": "#/components/schemas/Row"}},
        next={"type": ["string", "null"]},
        source={"enum": ["memory", "ledger"]},
    ),
    "Snapshot": thing(
        ["type", "scope", "rates", "requests"],
        type={"const": "snapshot"},
        scope={"enum": ["all", "own"]},
        rates=OBJECT,
        requests={"type": "array", "items": {"$ref": "#/components/schemas/Row"}},
    ),
    "Ready": thing(
        ["status", "problems"],
        status={"enum": ["ready", "not ready"]},
        problems={"type": "array", "items": TEXT},
        warnings={"type": "array", "items": TEXT},
    ),
    "Explain": closed(["message"], message={"type": "string", "minLength": 1, "pattern": "\\S"}),
    "Settings": thing(
        [],
        openai_api_key={"type": ["string", "null"], "maxLength": 4096},
        openai_base_url={"type": ["string", "null"], "maxLength": 2048},
        providers=OBJECT,
        routes=OBJECT,
    ),
    "SettingsTest": thing(
        ["provider"], provider={"type": "string", "minLength": 1}, api_key=TEXT, base_url=TEXT
    ),
    "AiRequest": closed(
        ["app_code", "request_type", "request"],
        app_code={"type": "string", "minLength": 1, "pattern": "\\S"},
        request_type={"type": "string", "minLength": 1, "pattern": "\\S"},
        request={"type": "string", "minLength": 1, "pattern": "\\S"},
    ),
    "JobRequest": thing(
        [],
        dialect={
            "enum": [
                "complete",
                "openai",
                "responses",
                "anthropic",
                "ollama",
                "ollama-generate",
                "gemini",
            ],
            "default": "complete",
        },
        webhook={"type": "string", "format": "uri", "maxLength": 2048},
        model=MODEL,
    ),
    "JobBatch": {
        "anyOf": [
            several({"$ref": "#/components/schemas/JobRequest"}),
            closed(["requests"], requests=several({"$ref": "#/components/schemas/JobRequest"})),
        ]
    },
    "Profile": thing(
        [],
        display_name={"type": "string", "maxLength": 200},
        email={"type": "string", "maxLength": 254},
        theme={"enum": ["", "system", "light", "dark"]},
        language={"type": "string", "description": "Of dates and numbers, as de-DE."},
    ),
}
