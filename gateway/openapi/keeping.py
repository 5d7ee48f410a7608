"""The doors of operators, and of what is kept of callers."""

from __future__ import annotations

from gateway.openapi.piece import NDJSON, Operation

CODES, FEEDBACK, ROUTING, SETTINGS = "App codes", "Feedback", "Routing", "Settings"

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/codes", CODES, "All app codes and what they used", admin=True),
    Operation(
        "POST",
        "/codes",
        CODES,
        "A new one; its secret is told this once",
        "Code",
        {"name": "a team", "rate_limit": "100/hour"},
        admin=True,
        status=201,
    ),
    Operation("GET", "/codes/{id}", CODES, "One of them", admin=True),
    Operation(
        "PATCH",
        "/codes/{id}",
        CODES,
        "Other limits; null takes one away",
        "CodeChange",
        {"rate_limit": "10/minute"},
        admin=True,
    ),
    Operation("DELETE", "/codes/{id}", CODES, "Revoked, for good", admin=True),
    Operation(
        "POST",
        "/codes/{id}/rotate",
        CODES,
        "A new secret; the old one holds for grace_s more seconds",
        "Grace",
        {"grace_s": 60},
        admin=True,
        optional_body=True,
    ),
    Operation(
        "POST",
        "/feedback",
        FEEDBACK,
        "What a caller says of an answer",
        "Feedback",
        {"request_id": "unknown", "value": "good"},
    ),
    Operation(
        "GET",
        "/feedback/export",
        FEEDBACK,
        "Kept prompts with what was said of them, as JSON lines",
        answer="",
        streams=NDJSON,
        admin=True,
        query={"labelled": {"enum": ["true", "false"]}},
    ),
    Operation("DELETE", "/feedback/{request_id}", FEEDBACK, "Deletes what was kept of one request"),
    Operation(
        "DELETE",
        "/feedback",
        FEEDBACK,
        "Deletes all that was kept of the caller",
        query={"caller": {"type": "string", "minLength": 1}},
    ),
    Operation("GET", "/routing", ROUTING, "The classifier, and what it does", admin=True),
    Operation(
        "POST",
        "/routing/explain",
        ROUTING,
        "A prompt's score, and what moved it",
        "Explain",
        {"message": "Prove it."},
        admin=True,
        asks=True,
    ),
    *(
        Operation(
            "POST",
            f"/routing/{word}",
            ROUTING,
            meaning,
            "Object",
            {},
            admin=True,
            asks=True,
            optional_body=True,
            more={"501": "The classifier does not let itself be changed over HTTP."},
        )
        for word, meaning in (
            ("promote", "The candidate serves"),
            ("rollback", "The one before serves again"),
        )
    ),
    Operation("GET", "/settings", SETTINGS, "Keys (masked), addresses, routes", admin=True),
    Operation(
        "POST",
        "/settings",
        SETTINGS,
        "Changes them, at once and on all workers",
        "Settings",
        {},
        admin=True,
    ),
    Operation(
        "POST",
        "/settings/test",
        SETTINGS,
        "Asks a provider for its models once, and says what happened",
        "SettingsTest",
        {"provider": "openai"},
        admin=True,
    ),
    Operation("GET", "/profile", SETTINGS, "The caller's own name, e-mail, theme and language"),
    Operation(
        "POST",
        "/profile",
        SETTINGS,
        "Changes what is given of them",
        "Profile",
        {"display_name": "Ada", "email": "ada@example.org", "theme": "dark"},
    ),
)
