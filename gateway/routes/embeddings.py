"""Texts as vectors: four languages at the door, three behind it."""

from __future__ import annotations

import sys
import time
from array import array
from base64 import b64encode
from collections.abc import Mapping, Sequence

import orjson
from aiohttp import web

from chat.errors import BadRequest, Draining, GatewayError
from chat.events import Usage
from chat.request import ChatRequest, Json, Message, Text
from chat.trace import Trace
from dialects import reading
from dialects.gemini.spelling import camel
from gateway.engine.attempt import Attempt
from gateway.engine.ports import Settlement
from gateway.engine.routing import Plan
from gateway.middleware import CALLER, REQUEST_ID
from gateway.routes.admitted import admitted, limits_of
from gateway.routes.bodies import read_json
from gateway.routes.listing import target_of
from gateway.services import SERVICES
from providers.embeddings import EmbeddingRequest, Embeddings

MAX_INPUTS = 2048
"""As OpenAI's."""
OPENAI_FIELDS = frozenset(("model", "input", "encoding_format", "dimensions"))


def register(app: web.Application) -> None:
    app.router.add_post("/v1/embeddings", openai)
    app.router.add_post("/api/embed", ollama)
    app.router.add_post("/api/embeddings", ollama_single)


async def openai(request: web.Request) -> web.Response:
    """The SDKs ask for base64, little-endian float32, unless they are told otherwise."""
    body = reading.body_object(await read_json(request))
    encoding = reading.optional_text(body, "encoding_format") or "float"
    if encoding not in ("float", "base64"):
        reading.bad("encoding_format", f"must be float or base64, not {encoding[:50]!r}.")
    asked = EmbeddingRequest(
        model=reading.text(body, "model"),
        inputs=_openai_inputs(body),
        dimensions=reading.integer(body, "dimensions", low=1),
        extra={name: value for name, value in body.items() if name not in OPENAI_FIELDS},
    )
    answer = await _embedded(request, asked, "openai-embeddings")
    tokens = answer.input_tokens or 0
    return _json(
        request,
        {
            "object": "list",
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _base64(vector) if encoding == "base64" else vector,
                }
                for index, vector in enumerate(answer.vectors)
            ],
            "model": asked.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
    )


async def ollama(request: web.Request) -> web.Response:
    began = time.monotonic_ns()
    body = reading.body_object(await read_json(request))
    asked = EmbeddingRequest(
        model=reading.text(body, "model"),
        inputs=_texts(body, "input"),
        dimensions=reading.integer(body, "dimensions", low=1),
        truncate=reading.flag(body, "truncate"),
    )
    answer = await _embedded(request, asked, "ollama-embed")
    told: dict[str, Json] = {
        "model": asked.model,
        "embeddings": answer.vectors,
        "total_duration": time.monotonic_ns() - began,
        "load_duration": 0,
    }
    if answer.input_tokens is not None:
        told["prompt_eval_count"] = answer.input_tokens
    return _json(request, told)


async def ollama_single(request: web.Request) -> web.Response:
    """The older door: one prompt, one vector."""
    body = reading.body_object(await read_json(request))
    prompt = reading.text(body, "prompt")
    if not prompt:
        reading.bad("prompt", "must not be empty.")
    asked = EmbeddingRequest(reading.text(body, "model"), (prompt,))
    answer = await _embedded(request, asked, "ollama-embed")
    return _json(request, {"embedding": answer.vectors[0]})


async def gemini(request: web.Request, model: str) -> web.Response:
    body = camel(reading.body_object(await read_json(request)))
    answer = await _embedded(request, _gemini_request(model, (("", body),)), "gemini-embed")
    return _json(request, {"embedding": {"values": answer.vectors[0]}})


async def gemini_batch(request: web.Request, model: str) -> web.Response:
    body = reading.body_object(await read_json(request))
    questions = [(path, camel(item)) for path, item in reading.objects(body, "requests")]
    if not questions:
        reading.bad("requests", "must not be empty.")
    answer = await _embedded(request, _gemini_request(model, questions), "gemini-embed")
    return _json(request, {"embeddings": [{"values": vector} for vector in answer.vectors]})


async def _embedded(request: web.Request, asked: EmbeddingRequest, door: str) -> Embeddings:
    """Asks the model's provider, as often and as patiently as for a chat, and settles. Raises
    GatewayError."""
    services = request.app[SERVICES]
    if services.late:
        raise Draining
    trace = Trace(request[REQUEST_ID])
    began = time.monotonic()
    if len(asked.inputs) > MAX_INPUTS:
        raise BadRequest(f"input has {len(asked.inputs)} texts; {MAX_INPUTS} pass.", param="input")
    target = target_of(services, asked.model)
    if target is None:
        raise BadRequest(
            f"{asked.model!r} is a route, and vectors of several models do not compare. "
            "Name one model.",
            param="model",
            code="embeddings_unsupported",
        )
    trace.provider, trace.model, trace.target = target.provider.name, target.model, target.name
    trace.route, trace.reason = "named", "The caller named the model."
    provider = services.registry.providers[target.provider.name]
    walker = services.pipeline.walker
    attempts: list[Attempt] = []
    outcome, failure = "cancelled", None
    ticket = await admitted(request)

    async def ask(attempt: Attempt) -> Embeddings:
        answer = await provider.embed(asked, target.model)
        attempt.usage = Usage(input_tokens=answer.input_tokens)
        return answer

    try:
        if ticket is not None:
            held = ticket.hold(_as_question(asked), (target,), 0)
            if held is not None:
                await held
        attempt, answer = await walker.commit(
            Plan((target,)), ask, trace, attempts, stream=False, began=began
        )
        walker.succeeded(attempt)
        outcome = "finished"
        return answer
    except GatewayError as error:
        outcome, failure, error.settled = "failed", error.kind, True
        raise
    finally:
        trace.total_ms = (time.monotonic() - began) * 1000
        services.pipeline.recorder.settle(
            Settlement(
                outcome=outcome,
                door=door,
                trace=trace,
                usage=attempts[-1].usage if attempts else Usage(),
                committed=outcome == "finished",
                error=failure,
                caller=request[CALLER],
                attempts=attempts,
            )
        )
        if ticket is not None:
            ticket.settle(attempts)


def _as_question(asked: EmbeddingRequest) -> ChatRequest:
    """For whoever counts its tokens. A token's number stands for a byte."""
    texts = (text if isinstance(text, str) else "." * len(text) for text in asked.inputs)
    return ChatRequest(asked.model, tuple(Message("user", (Text(text),)) for text in texts))


def _openai_inputs(body: Mapping[str, Json]) -> tuple[str | list[int], ...]:
    """A text, texts, token numbers, or lists of them."""
    given = body.get("input")
    if isinstance(given, list) and given:
        if all(_is_token(item) for item in given):
            return (given,)
        if all(isinstance(item, list) and item and all(map(_is_token, item)) for item in given):
            return tuple(given)
    return _texts(body, "input")


def _is_token(value: Json) -> bool:
    return type(value) is int and value >= 0


def _texts(body: Mapping[str, Json], field: str) -> tuple[str, ...]:
    texts = reading.texts(body, field)
    if not texts:
        reading.bad(field, "is required." if body.get(field) is None else "must not be empty.")
    for position, text in enumerate(texts):
        if not text:
            reading.bad(f"{field}[{position}]" if len(texts) > 1 else field, "must not be empty.")
    return texts


def _gemini_request(
    model: str, questions: Sequence[tuple[str, dict[str, Json]]]
) -> EmbeddingRequest:
    """The settings stand in each question; all have to say the same. Each as (path, object)."""
    texts: list[str] = []
    settings: set[tuple[int | None, str | None]] = set()
    for path, question in questions:
        content = reading.optional_object(question, "content", path)
        if content is None:
            reading.bad(path + "content", "is required.")
        where = f"{path}content."
        parts = reading.objects(content, "parts", where)
        if not parts:
            reading.bad(where + "parts", "must not be empty.")
        texts.append("".join(reading.text(part, "text", at) for at, part in parts))
        config = reading.optional_object(question, "embedContentConfig", path) or {}
        said = {**question, **camel(config)}
        settings.add(
            (
                reading.integer(said, "outputDimensionality", path, low=1),
                reading.optional_text(said, "taskType", path),
            )
        )
    if len(settings) > 1:
        reading.bad("requests", "must all have the same outputDimensionality and taskType.")
    dimensions, task = settings.pop()
    return EmbeddingRequest(model, tuple(texts), dimensions, task)


def _base64(vector: Sequence[float]) -> str:
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return b64encode(packed.tobytes()).decode()


def _json(request: web.Request, body: Json) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), content_type="application/json", headers=limits_of(request)
    )
