"""One door's row, and the OpenAPI that it stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chat.request import Json

JSON = "application/json"
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
ERRORS: dict[str, Json] = {"4XX": {"$ref": "#/components/responses/Mistake"}}
FAILURES: dict[str, Json] = {"5XX": {"$ref": "#/components/responses/Failure"}}
PLACES: dict[str, tuple[str, Json]] = {
    "name": ("A model's name; slashes and colons may stand in it as they are.", "auto"),
    "call": ("A model, a colon and what to do with it.", "auto:generateContent"),
    "provider": ("gpt, claude, gemini or any provider's name.", "openai"),
    "id": ("The id.", "unknown"),
    "request_id": ("A request's id, as the header X-Request-Id told it.", "unknown"),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """`body` and `answer` name a schema of the components. `streams`: the content type of an
    answer that comes in pieces, beside the JSON or instead of it (`answer` is "")."""

    method: str
    path: str
    tag: str
    summary: str
    body: str = ""
    example: Json = None
    answer: str = "Object"
    streams: str = ""
    admin: bool = False
    asks: bool = False
    """An upstream is asked, so any upstream's failure may come back."""
    status: int = 200
    query: Mapping[str, Json] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    """Further statuses and what they mean."""
    about: str = ""
    optional_body: bool = False


def rendered(operation: Operation) -> dict[str, Json]:
    found: dict[str, Json] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "operationId": _id(operation),
        "responses": _responses(operation),
        "security": [{"bearer": []}] if operation.admin else [{"bearer": []}, {}],
    }
    if operation.about:
        found["description"] = operation.about
    parameters = [_place(name) for name in re.findall(r"{(\w+)}", operation.path)]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in operation.query.items()
    ]
    if parameters:
        found["parameters"] = parameters
    if operation.body:
        content: dict[str, Json] = {"schema": _ref(operation.body)}
        if operation.example is not None:
            content["example"] = operation.example
        found["requestBody"] = {
            "required": not operation.optional_body,
            "content": {JSON: content},
        }
    return found


def _responses(operation: Operation) -> dict[str, Json]:
    content: dict[str, Json] = {}
    if operation.answer == TEXT:
        content[TEXT] = {"schema": {"type": "string"}}
    elif operation.answer:
        content[JSON] = {"schema": _ref(operation.answer)}
    if operation.streams:
        # Validators differ in what a stream is to them: a text, or each of its events.
        content[operation.streams] = {"schema": {}}
    good: dict[str, Json] = {"description": "The answer."}
    if content:
        good["content"] = content
    found: dict[str, Json] = {str(operation.status): good, **ERRORS}
    if operation.asks:
        found.update(FAILURES)
    for status, meaning in operation.more.items():
        found[status] = {"description": meaning, "content": {JSON: {"schema": _ref("Object")}}}
    return found


def _place(name: str) -> dict[str, Json]:
    words, example = PLACES[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": words,
        "schema": {"type": "string", "minLength": 1},
        "example": example,
    }


def _ref(name: str) -> dict[str, Json]:
    return {"$ref": f"#/components/schemas/{name}"}


def _id(operation: Operation) -> str:
    words = re.findall(r"[A-Za-z0-9]+", operation.path) or ["root"]
    return "_".join([operation.method.lower(), *words])
