"""The doors where one looks: models, health, what happens now."""

from __future__ import annotations

from chat.request import Json
from gateway.openapi.piece import SSE, TEXT, Operation

MODELS, HEALTH, LIVE = "Models", "Health", "Monitoring"
WORD: Json = {"type": "string", "minLength": 1, "maxLength": 200}
MOMENT: Json = {"type": "number", "minimum": 0, "maximum": 100_000_000_000}
FILTERS = ("outcome", "error", "door", "route", "target", "provider", "model", "tier", "caller")
REQUESTS: dict[str, Json] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
    "before": {"type": "string", "description": "The `next` of the page before."},
    "since": MOMENT,
    "until": MOMENT,
    **dict.fromkeys(FILTERS, WORD),
}
SPAN: dict[str, Json] = {
    "from": {"type": "string", "format": "date"},
    "to": {"type": "string", "format": "date"},
    "app": {"type": "string", "minLength": 1, "maxLength": 64},
}
UPGRADE = "A WebSocket: the messages are in docs/websockets.md. A plain request gets 400."

OPERATIONS: tuple[Operation, ...] = (
    *(
        row
        for version in ("v1", "v1beta", "v1alpha")
        for row in (
            Operation(
                "GET",
                f"/{version}/models",
                MODELS,
                "The models, in one body for the clients of OpenAI, Anthropic and Gemini",
                answer="Models",
            ),
            Operation("GET", f"/{version}/models/{{name}}", MODELS, "One of them"),
        )
    ),
    Operation(
        "GET",
        "/models",
        MODELS,
        "The same list, and the names of Ollama's and of OpenAI's models",
        answer="Models",
    ),
    Operation("GET", "/api/tags", MODELS, "The models, as Ollama lists them"),
    Operation("GET", "/api/ps", MODELS, "An empty list: nothing is held in memory here"),
    Operation(
        "POST",
        "/api/show",
        MODELS,
        "What a model can do, and its context",
        "OllamaNamed",
        {"model": "auto"},
    ),
    Operation(
        "POST",
        "/api/pull",
        MODELS,
        "Success for a model that is there",
        "OllamaNamed",
        {"model": "auto"},
        streams="application/x-ndjson",
        asks=True,
    ),
    *(
        Operation(method, path, MODELS, "A 400 that says so: models are kept at their upstreams")
        for method, path in (
            ("POST", "/api/create"),
            ("POST", "/api/copy"),
            ("POST", "/api/push"),
            ("DELETE", "/api/delete"),
        )
    ),
    Operation("GET", "/api/version", HEALTH, "The version of Ollama whose API this is"),
    Operation("GET", "/", HEALTH, '"Ollama is running", or the page for a browser', answer=TEXT),
    Operation("GET", "/healthz", HEALTH, "The process lives"),
    Operation(
        "GET",
        "/readyz",
        HEALTH,
        "Callers may come",
        answer="Ready",
        more={"503": "It stops, or nobody can be asked."},
    ),
    Operation("GET", "/health", HEALTH, "Who is on, and who is off and why"),
    Operation(
        "GET",
        "/health/{provider}",
        HEALTH,
        "One provider",
        more={"503": "It is off, or not well."},
    ),
    Operation("GET", "/metrics", HEALTH, "Prometheus", answer=TEXT),
    Operation("GET", "/openapi.json", HEALTH, "This description"),
    Operation("GET", "/monitoring", LIVE, "What happens now", answer="Snapshot"),
    Operation(
        "GET",
        "/monitoring/events",
        LIVE,
        "The same as a stream: a snapshot, then what changes",
        answer="",
        streams=SSE,
        asks=True,
    ),
    Operation(
        "GET",
        "/monitoring/requests",
        LIVE,
        "The last requests, newest first",
        answer="Rows",
        query=REQUESTS,
    ),
    Operation(
        "GET",
        "/monitoring/requests/{request_id}",
        LIVE,
        "One of them, with its attempts",
        answer="Row",
    ),
    Operation(
        "GET",
        "/usage",
        LIVE,
        "Tokens and cost by day, app, model, provider, route or tier",
        streams="text/csv",
        query={
            "by": {"type": "string", "default": "day"},
            **SPAN,
            "format": {"enum": ["json", "csv"]},
        },
    ),
    Operation(
        "GET",
        "/usage/savings",
        LIVE,
        "What the routes spent, and what one tier alone would have cost",
        query=SPAN,
    ),
    Operation(
        "GET", "/ws/chat", LIVE, "Chat over a WebSocket", status=101, answer="", about=UPGRADE
    ),
    Operation(
        "GET",
        "/ws/monitoring",
        LIVE,
        "The feed over a WebSocket",
        status=101,
        answer="",
        about=UPGRADE,
    ),
)
