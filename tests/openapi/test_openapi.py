"""The description of the doors is true: of every door, and of no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi import definitions

from gateway.app import build_app
from gateway.openapi.document import OPERATIONS, document
from gateway.openapi.piece import Operation
from gateway.settings import Settings
from tests.openapi.upstream import settings_with, upstream
from tests.replay.gateway import ADMIN, running

DOCUMENT = document()
RUNNABLE = [one for one in OPERATIONS if not one.path.startswith("/ws/")]
STREAMS_ON = ("/monitoring/events",)
ELSEWHERE = ("/api/create", "/api/copy", "/api/push", "/api/delete")
"""They say that it cannot be done here."""


COMPLETE = ("GET", "/complete")
"""For an EventSource alone: tests/doors/test_event_source.py asks as one does."""


def refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def test_the_routes_and_the_description_match_both_ways() -> None:
    described = {
        f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item
    }
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in build_app(Settings(), {}).router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    assert described == routes


def test_the_document_is_openapi_3_1_by_its_own_meta_schema() -> None:
    # jsonschema_rs resolves the document's own dialect, which jsonschema would fetch.
    faults = [str(fault) for fault in definitions.OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)]
    assert not faults, faults[:3]
    broken = {**DOCUMENT, "paths": {"/x": {"get": {"responses": 3}}}}
    assert not definitions.OPENAPI_31_VALIDATOR.is_valid(broken)


def test_every_schema_is_a_schema_and_every_reference_leads_somewhere() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert re.fullmatch(r"[A-Za-z]+", name)
    for ref in refs(DOCUMENT):
        _, _, place = ref.partition("#/components/")
        kind, _, name = place.partition("/")
        assert name in DOCUMENT["components"][kind], ref
    used = set(refs(DOCUMENT))
    for name in DOCUMENT["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in used, name


def test_each_operation_has_an_id_of_its_own() -> None:
    ids = [one["operationId"] for item in DOCUMENT["paths"].values() for one in item.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.body], ids=lambda o: o.path)
def test_an_example_fits_its_own_schema(operation: Operation) -> None:
    schema = {
        "$ref": f"#/components/schemas/{operation.body}",
        "components": DOCUMENT["components"],
    }
    Draft202012Validator(schema).validate(operation.example)


async def test_every_example_runs_and_its_answer_is_as_described() -> None:
    async with upstream() as url, running(settings_with(url)) as gateway:
        for operation in RUNNABLE:
            if operation.path in STREAMS_ON or (operation.method, operation.path) == COMPLETE:
                continue
            item = DOCUMENT["paths"][operation.path][operation.method.lower()]
            path = operation.path
            for parameter in item.get("parameters", ()):
                if parameter["in"] == "path":
                    path = path.replace("{" + parameter["name"] + "}", parameter["example"])
            async with gateway.session.request(
                operation.method, gateway.url + path, json=operation.example, headers=ADMIN
            ) as response:
                raw = await response.read()
                where = f"{operation.method} {path}: {response.status} {raw[:300]!r}"
                unknown = "unknown" in f"{path} {operation.example}" or "/routing" in path
                unknown = unknown or path in ELSEWHERE
                assert response.status < 400 or unknown, where
                described = item["responses"].get(str(response.status))
                if described is None:
                    described = item["responses"][f"{response.status // 100}XX"]
                    continue
                assert response.content_type in described["content"], where
                schema = described["content"][response.content_type]["schema"]
                if response.content_type == "application/json":
                    whole = {**schema, "components": DOCUMENT["components"]}
                    Draft202012Validator(whole).validate(await response.json())


async def test_the_description_is_served_to_anybody() -> None:
    async with (
        upstream() as url,
        running(settings_with(url, access={"open": False})) as gateway,
        gateway.session.get(gateway.url + "/openapi.json") as response,
    ):
        assert response.status == 200
        assert await response.json() == DOCUMENT
