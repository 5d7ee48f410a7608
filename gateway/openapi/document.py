"""The whole document. A door that is not in these tables is found by tests/openapi."""

from __future__ import annotations

from functools import cache

import orjson

from chat.request import Json
from gateway.openapi import asking, keeping, looking, waiting
from gateway.openapi.piece import JSON, Operation, rendered
from gateway.openapi.schemas import SCHEMAS
from gateway.version import VERSION

OPERATIONS: tuple[Operation, ...] = (
    *asking.OPERATIONS,
    *looking.OPERATIONS,
    *keeping.OPERATIONS,
    *waiting.OPERATIONS,
)
ABOUT = """One address in front of many models. `model` is a target (`openai/gpt-4o`), a bare name,
an alias, or `auto`, where a classifier chooses. An answer's `X-Pointsman-Target` says who gave it.
Errors come in the language of their door; sockets are described in docs/websockets.md."""


def document() -> dict[str, Json]:
    paths: dict[str, dict[str, Json]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = rendered(operation)
    tags = dict.fromkeys(operation.tag for operation in OPERATIONS)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pointsman", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in tags],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {
                "Mistake": _error("The caller's mistake, or a limit; the body says what."),
                "Failure": _error("No upstream answered, or the gateway stops."),
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An app code, or the admin token.",
                }
            },
        },
    }


@cache
def as_bytes() -> bytes:
    return orjson.dumps(document())


def _error(description: str) -> dict[str, Json]:
    return {
        "description": description,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/Object"}}},
    }
