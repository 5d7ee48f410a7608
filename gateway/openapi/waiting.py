"""The doors of questions that are answered later."""

from __future__ import annotations

from gateway.openapi.piece import SSE, Operation

JOBS = "Jobs"
QUESTION = {"message": "Name three colours.", "dialect": "complete"}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/ai_request",
        JOBS,
        "Queues a request of an application",
        "AiRequest",
        {"app_code": "unknown", "request_type": "explain", "request": "What is a queue?"},
        more={"503": "The queue is full."},
    ),
    Operation("GET", "/get_request/{id}", JOBS, "Where it stands, or its answer"),
    Operation(
        "POST",
        "/jobs",
        JOBS,
        "Any chat request, to be answered later",
        "JobRequest",
        QUESTION,
        status=202,
        more={"200": "The Idempotency-Key is known: the job that was there."},
        about="`dialect` (or the header X-Pointsman-Dialect) names the language of the other "
        "fields. `webhook` is told when the job ends.",
    ),
    Operation(
        "GET",
        "/jobs",
        JOBS,
        "The caller's jobs, newest first; all of them for the admin",
        query={
            "status": {
                "enum": ["queued", "processing", "completed", "error", "expired", "cancelled"]
            },
            "app": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[a-z0-9-]+$"},
            "q": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[a-z ]+$"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 200},
            "before": {"type": "integer", "minimum": 1, "maximum": 4_000_000_000},
        },
    ),
    Operation(
        "POST",
        "/jobs/batch",
        JOBS,
        "Many of them, as a list or as JSON lines",
        "JobBatch",
        {"requests": [QUESTION]},
        status=202,
    ),
    Operation("GET", "/jobs/{id}", JOBS, "Its state, place and expected wait, or its answer"),
    Operation("DELETE", "/jobs/{id}", JOBS, "Cancels it, also while it runs"),
    Operation(
        "GET",
        "/jobs/{id}/events",
        JOBS,
        "The same as it happens; Last-Event-ID resumes",
        answer="",
        streams=SSE,
        more={"204": "The end was seen already."},
    ),
)
