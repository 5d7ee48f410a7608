"""POST /ai_request and GET /get_request/{id}: a queue in the words of an earlier server.

Callers name themselves by the app code in the body. Every failure has that server's shape:
{"status": "error", "error_code": ..., "message": ...}.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from chat.errors import (
    BadRequest,
    Draining,
    GatewayError,
    LimitReached,
    NotAllowed,
    NotFound,
    NotIdentified,
    QueueFull,
)
from chat.request import Json
from dialects import reading
from dialects.complete import CompleteDialect, rfc3339
from dialects.openai import OpenAiDialect
from gateway.accounts.app import App
from gateway.jobs.job import Job
from gateway.jobs.service import Asking, result_of, waiting
from gateway.routes.bodies import read_json
from gateway.services import SERVICES, Services
from gateway.settings import RequestType

FIELDS = frozenset(("app_code", "request_type", "request"))
TOGETHER = "together"
OPENAI = OpenAiDialect()
DOOR = "ai_request"
MISTAKES = frozenset(("bad_request", "too_large", "not_found", "model_not_found", "not_allowed"))
"""Kinds of error that asking again does not mend."""


class AiRequestDialect(CompleteDialect):
    """Only its errors are of this door's own."""

    name = DOOR

    def render_error(self, error: GatewayError) -> Json:
        return {"status": "error", "error_code": code_of(error), "message": error.message}


def code_of(error: GatewayError) -> str:
    match error:
        case NotIdentified():
            return "INVALID_APP_CODE"
        case NotAllowed():
            return "UNSUPPORTED_REQUEST_TYPE"
        case NotFound():
            return "REQUEST_NOT_FOUND"
        case QueueFull():
            return "QUEUE_FULL"
        case BadRequest():
            return "INVALID_REQUEST"
        case LimitReached() | Draining():
            return "AI_SERVICE_ERROR"
    return "INVALID_REQUEST" if 400 <= error.status < 500 else "AI_SERVICE_ERROR"


def register(app: web.Application) -> None:
    app.router.add_post("/ai_request", put)
    app.router.add_get("/get_request/{id}", look)


async def put(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    if services.draining:
        raise Draining
    body = reading.body_object(await read_json(request))
    for field in body:
        if field not in FIELDS:
            reading.bad(field[:50], f"is not a field; there are {', '.join(sorted(FIELDS))}.")
    code = reading.filled_text(body, "app_code")
    kind = reading.filled_text(body, "request_type")
    text = reading.filled_text(body, "request")
    app = services.accounts.find(code)
    if app is None:
        raise NotIdentified("The app_code is not known.", param="app_code")
    limit = services.settings.server.message_limit
    if len(text) > limit:
        reading.bad("request", f"has {len(text)} characters; this server takes {limit}.")
    types = services.settings.request_types
    if not app.takes(kind) or (kind not in types and kind not in app.allowed_request_types):
        allowed = ", ".join(app.allowed_request_types or types) or "none"
        raise NotAllowed(
            f"The request_type {kind[:50]!r} is not one of this application's: {allowed}.",
            param="request_type",
        )
    asked = _question(services, app, types.get(kind, RequestType()), kind, text)
    ((job_id, _),) = await services.jobs.put(asked)
    return _json(
        {"status": "success", "request_id": job_id, "message": "Request queued successfully"}
    )


async def look(request: web.Request) -> web.Response:
    """Whoever has the id may ask: nobody guesses it."""
    services = request.app[SERVICES]
    try:
        job = await services.jobs.get(request.match_info["id"], None)
    except NotFound:
        raise NotFound("Request ID not found") from None
    if job.door != DOOR:
        raise NotFound("Request ID not found")
    if job.status == "queued":
        place = await services.jobs.place(job)
        if place is not None:
            told = waiting(place)
            return _json(
                {
                    "status": "queued",
                    "position": told["position"],
                    "estimated_wait_time": told["estimated_wait_time"],
                    "message": "Request is in queue",
                }
            )
        # Its turn came between the two questions.
        job = await services.jobs.get(job.id, None)
    return _json(_told(job))


def _told(job: Job) -> dict[str, Json]:
    if job.status in ("queued", "processing"):
        return {"status": "processing", "message": "Request is currently being processed"}
    result = result_of(job)
    if job.status == "completed" and result is not None:
        usage = result["usage"]
        return {
            "status": "completed",
            "response": {
                "ai_response": result["text"],
                "model_used": result["model"],
                "completion_time": rfc3339(job.ended_at or 0.0),
                "token_usage": {
                    "prompt_tokens": usage["input_tokens"],
                    "completion_tokens": usage["output_tokens"],
                    "total_tokens": usage["total_tokens"],
                },
            },
        }
    code, message, again = _failure(job)
    return {"status": "error", "error_code": code, "message": message, "retry_possible": again}


def _failure(job: Job) -> tuple[str, str, bool]:
    """Code, message, whether asking again may help."""
    if job.status == "expired":
        return "TIMEOUT", "The request waited too long and was removed from the queue.", True
    if job.status == "cancelled":
        return "INVALID_REQUEST", "The request was cancelled.", True
    error = orjson.loads(job.error) if job.error else {}
    kind, message = error.get("type"), error.get("message") or "The request failed."
    if kind == "timeout":
        return "TIMEOUT", message, True
    if kind in MISTAKES:
        return "INVALID_REQUEST", message, False
    return "AI_SERVICE_ERROR", message, kind != "quota"


def _question(services: Services, app: App, template: RequestType, kind: str, text: str) -> Asking:
    settings = services.settings.jobs
    model, behind = _models(services, template)
    tokens = template.max_tokens or settings.max_tokens
    if app.max_tokens is not None:
        tokens = min(tokens, app.max_tokens)
    temperature = template.temperature
    messages = [{"role": "user", "content": text}]
    if template.system_prompt:
        messages.insert(0, {"role": "system", "content": template.system_prompt})
    body: dict[str, Json] = {
        "model": model,
        "messages": messages,
        "max_tokens": tokens,
        "temperature": settings.temperature if temperature is None else temperature,
    }
    shape = template.response_format
    if shape == "json_object":
        body["response_format"] = {"type": "json_object"}
    elif isinstance(shape, dict):
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": shape},
        }
    return Asking(
        caller=app.caller,
        door=DOOR,
        type=kind,
        dialect="openai",
        body=body,
        request=OPENAI.parse_request(body),
        models=behind,
    )


def _models(services: Services, template: RequestType) -> tuple[str, tuple[str, ...]]:
    """Whom to ask, and whom behind that one."""
    settings = services.settings.jobs
    if template.model:
        return template.model, template.fallback_models
    behind = template.fallback_models or settings.fallback_models
    if settings.model:
        return settings.model, behind
    together = services.registry.providers.get(TOGETHER)
    if together is None or not together.row.default_model:
        return "auto", behind
    theirs = tuple(f"{TOGETHER}/{name}" for name in together.row.fallback_models)
    return f"{TOGETHER}/{together.row.default_model}", behind or theirs


def _json(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
