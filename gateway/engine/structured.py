"""Answers that must be JSON of a shape: held against the schema, mended once, told as they are.

An upstream that enforces a format is believed while it streams, as nothing can be un-sent; its
whole answers are held against the schema. Where it cannot, the model is asked by words, and the
answer is only passed on when it was checked: an answer that is not valid is asked for once more
with what was wrong, and one that is still not valid is a failure, so that the next target may
be asked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson

from chat.errors import BadRequest, Broken
from chat.events import (
    Batch,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import ChatResponse, Folder
from chat.request import ChatRequest, Message, ResponseFormat, Text, ToolCall
from chat.trace import Trace
from dialects.base import Renderer
from gateway.engine.ports import Progress, Provider

MAX_PROBLEMS = 3
"""Told to the model of one answer."""
MAX_SCHEMA = 200_000
"""Bytes of a schema; validators of larger ones are not kept."""
TRACE_HEADER = "X-Pointsman-Structured"


def wanted(request: ChatRequest) -> ResponseFormat | None:
    """The format, where it is one to hold an answer against."""
    found = request.response_format
    return found if found is not None and found.kind != "text" else None


def check_schema(request: ChatRequest) -> None:
    """Raises BadRequest when the schema is none, or names another that is not in it."""
    form = wanted(request)
    if form is None or form.schema is None:
        return
    try:
        _validator(orjson.dumps(form.schema))
    except jsonschema_rs.ValidationError as fault:
        place = ".".join(str(step) for step in fault.instance_path)
        where = f"{form.where}.{place}" if place else form.where
        raise BadRequest(
            f"{where} is not a JSON Schema: {fault.message[:200]}", param=where
        ) from None
    except (jsonschema_rs.ReferencingError, ValueError, TypeError) as fault:
        raise BadRequest(
            f"{form.where} is not a JSON Schema: {str(fault).splitlines()[0][:200]}",
            param=form.where,
        ) from None


def problem_of(text: str, form: ResponseFormat) -> str | None:
    """What is wrong with an answer, for a person or a model; None when nothing is."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as fault:
        return f"It is not JSON: {fault}."
    if form.schema is None:
        return None if isinstance(value, dict) else "It is not a JSON object."
    problems = []
    try:
        for found in _validator(orjson.dumps(form.schema)).iter_errors(value):
            place = ".".join(str(step) for step in found.instance_path) or "the whole"
            problems.append(f"{place}: {found.message[:200]}")
            if len(problems) == MAX_PROBLEMS:
                break
    except ValueError as fault:
        # A pattern that takes too long to match.
        problems.append(str(fault)[:200])
    return "; ".join(problems) or None


def unfenced(text: str) -> str:
    """Models that were told by words like to put a fence around their JSON."""
    bare = text.strip()
    if not (bare.startswith("```") and bare.endswith("```") and "\n" in bare):
        return text
    return bare[bare.index("\n") + 1 : -3].strip()


async def whole(
    request: ChatRequest, provider: Provider, model: str, progress: Progress, trace: Trace
) -> ChatResponse:
    """A one-shot answer that keeps to its format. Raises Broken when it does not, twice."""
    answer = _folded(await provider.whole(request, model))
    progress.usage = answer.usage
    form = wanted(request)
    if form is None or not _is_final(answer):
        return answer
    text = answer.text if provider.dialect.enforces(request, model) else unfenced(answer.text)
    problem = problem_of(text, form)
    if problem is None:
        return _declared(answer, text, "valid", trace)
    again = _folded(await provider.whole(_repair(request, answer.text, problem), model))
    progress.usage = usage = _sum(answer.usage, again.usage)
    text = unfenced(again.text)
    _demand(again, text, form)
    return _declared(replace(again, usage=usage), text, "repaired", trace)


async def stream(
    request: ChatRequest,
    provider: Provider,
    model: str,
    renderer: Renderer,
    closing: Callable[[], Trace],
    progress: Progress,
    trace: Trace,
) -> AsyncGenerator[bytes, None]:
    """A stream from an upstream that enforces nothing: thoughts pass as they come, the text is
    held back until it was checked."""
    form = wanted(request)
    assert form is not None
    folder = Folder()
    begun = False
    async with aclosing(_events(provider, request, model, progress)) as batches:
        async for batch in batches:
            folder.feed(batch)
            progress.usage = folder.usage
            shown = [event for event in batch if isinstance(event, Start | ReasoningDelta)]
            piece = renderer.feed(shown)
            if not begun and any(not isinstance(event, Start | Usage) for event in batch):
                # The model speaks: the caller is committed, though he sees no word of it yet.
                begun, piece = True, piece or renderer.keepalive
            if piece:
                yield piece
    answer = folder.response()
    usage, text = answer.usage, answer.text
    if _is_final(answer):
        text = unfenced(text)
        problem = problem_of(text, form)
        trace.structured = "valid"
        if problem is not None:
            again = Folder()
            repair = _repair(request, answer.text, problem)
            async with aclosing(_events(provider, repair, model, progress)) as batches:
                async for batch in batches:
                    again.feed(batch)
                    progress.usage = _sum(usage, again.usage)
            answer = again.response()
            usage, text = _sum(usage, answer.usage), unfenced(answer.text)
            _demand(answer, text, form)
            trace.structured = "repaired"
    yield renderer.feed([*_rest(answer, text), usage, answer.finish])
    yield renderer.close(closing())


async def _events(
    provider: Provider, request: ChatRequest, model: str, progress: Progress
) -> AsyncGenerator[Batch, None]:
    batches = provider.stream(request, model)
    try:
        async for batch in batches:
            progress.seen += 1
            yield batch
    finally:
        await batches.aclose()


def _rest(answer: ChatResponse, text: str) -> list[StreamEvent]:
    """What was held back: `text` for an answer that was checked, else its parts in order."""
    if _is_final(answer):
        return [TextDelta(text)]
    rest: list[StreamEvent] = []
    calls = 0
    for part in answer.parts:
        if isinstance(part, Text):
            rest.append(TextDelta(part.text))
        elif isinstance(part, ToolCall):
            piece = ToolCallDelta(calls, part.id, part.name, part.arguments, part.signature)
            rest.append(piece)
            calls += 1
    if answer.refusal is not None:
        rest.append(RefusalDelta(answer.refusal))
    return rest


def check_relayed(answer: ChatResponse, form: ResponseFormat, trace: Trace) -> None:
    """A whole answer that passes as it is. Raises Broken: asked again, it may come out valid."""
    if not _is_final(answer):
        return
    problem = problem_of(answer.text, form)
    if problem is not None:
        raise Broken(
            f"The answer does not keep to the format: {problem}", code="structured_output_invalid"
        )
    trace.structured = trace.headers[TRACE_HEADER] = "valid"


def _is_final(answer: ChatResponse) -> bool:
    """Words that end by themselves: a call, a refusal or an answer that was too long is told as
    what it is."""
    return answer.finish.reason == "stop" and not answer.tool_calls and answer.refusal is None


def _demand(answer: ChatResponse, text: str, form: ResponseFormat) -> None:
    if answer.finish.reason == "length":
        raise Broken(
            "The answer does not keep to the format, and the second one was too long.",
            code="structured_output_invalid",
            retryable=False,
        )
    problem = problem_of(text, form)
    if problem is not None:
        raise Broken(
            f"The answer does not keep to the format, nor does the second one: {problem}",
            code="structured_output_invalid",
            # It was asked twice already; another target may do better.
            retryable=False,
        )


def _declared(answer: ChatResponse, text: str, how: str, trace: Trace) -> ChatResponse:
    trace.structured = how
    trace.headers[TRACE_HEADER] = how
    if text == answer.text:
        return answer
    others = tuple(part for part in answer.parts if not isinstance(part, Text))
    return replace(answer, parts=(*others, Text(text)))


def _repair(request: ChatRequest, text: str, problem: str) -> ChatRequest:
    said = Message("assistant", (Text(text),))
    asked = Message(
        "user",
        (
            Text(
                f"That was not valid. {problem} Answer again with the corrected JSON alone: no "
                "other words, no code fence."
            ),
        ),
    )
    return replace(request, messages=(*request.messages, said, asked))


def _folded(events: Batch) -> ChatResponse:
    folder = Folder()
    folder.feed(events)
    return folder.response()


def _sum(first: Usage, second: Usage) -> Usage:
    """What both said; absent stays absent."""

    def add(a: int | None, b: int | None) -> int | None:
        return None if a is None and b is None else (a or 0) + (b or 0)

    return Usage(
        add(first.input_tokens, second.input_tokens),
        add(first.output_tokens, second.output_tokens),
        add(first.cached_tokens, second.cached_tokens),
        add(first.cache_write_tokens, second.cache_write_tokens),
        add(first.reasoning_tokens, second.reasoning_tokens),
    )


@lru_cache(maxsize=256)
def _kept(schema: bytes) -> Any:
    return _made(schema)


def _validator(schema: bytes) -> Any:
    return _kept(schema) if len(schema) <= MAX_SCHEMA else _made(schema)


def _made(schema: bytes) -> Any:
    """Offline: a schema that a caller wrote must not make us fetch anything. Its patterns are
    matched in linear time where they can be."""
    return jsonschema_rs.validator_for(orjson.loads(schema), offline=True)
