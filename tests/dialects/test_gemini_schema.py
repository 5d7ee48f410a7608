"""JSON Schema in Gemini's two forms, and back (PROTOCOLS 6.5, G07)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import BadRequest
from chat.request import Json
from dialects.gemini.schema import (
    MAX_DEPTH,
    for_parameters,
    for_response,
    from_openapi,
    to_openapi,
)

WORDS = [
    "type",
    "properties",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
    "enum",
    "const",
    "required",
    "$ref",
    "$defs",
    "format",
    "nullable",
    "prefixItems",
    "additionalProperties",
    "string",
    "object",
    "array",
    "null",
    "integer",
    "#/$defs/a",
    "#",
    "a",
]
PERSON: dict[str, Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Person",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "pattern": "^[A-Z]"},
        "age": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "In years"},
        "nick": {"type": ["string", "null"]},
        "home": {"$ref": "#/$defs/Address", "description": "Where he lives"},
        "kind": {"const": "person"},
        "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    },
    "required": ["name", "home"],
    "$defs": {
        "Address": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
        }
    },
}


def test_the_json_form_keeps_what_google_lists_and_nothing_else() -> None:
    assert for_response(PERSON) == {
        "title": "Person",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string"},
            "age": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "In years"},
            "nick": {"type": ["string", "null"]},
            "home": {"$ref": "#/$defs/Address"},
            "kind": {"enum": ["person"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "home"],
        "$defs": {
            "Address": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
                "required": ["city"],
            }
        },
    }


def test_old_definitions_become_defs_in_the_json_form() -> None:
    schema = {"$ref": "#/definitions/A", "definitions": {"A": {"type": "string"}}}
    assert for_response(schema) == {"$ref": "#/$defs/A", "$defs": {"A": {"type": "string"}}}


def test_parameters_pass_but_for_the_dialect_and_siblings_of_a_reference() -> None:
    clean = for_parameters(PERSON)
    assert "$schema" not in clean
    assert clean["properties"]["home"] == {"$ref": "#/$defs/Address"}
    assert clean["properties"]["name"] == PERSON["properties"]["name"]
    assert clean["properties"]["tags"]["uniqueItems"] is True


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    schema = {
        "type": "object",
        "properties": {"$schema": {"type": "string"}, "pattern": {"type": "string"}},
    }
    assert for_parameters(schema) == schema
    assert for_response(schema) == schema


def test_the_openapi_form_has_no_references_no_null_types_and_no_unknown_keyword() -> None:
    assert to_openapi(PERSON) == {
        "title": "Person",
        "type": "OBJECT",
        "properties": {
            "name": {"type": "STRING", "minLength": 1, "pattern": "^[A-Z]"},
            "age": {"type": "INTEGER", "description": "In years", "nullable": True},
            "nick": {"type": "STRING", "nullable": True},
            "home": {
                "type": "OBJECT",
                "description": "Where he lives",
                "properties": {"city": {"type": "STRING", "enum": ["Paris", "Rome"]}},
                "required": ["city"],
            },
            "kind": {"type": "STRING", "enum": ["person"]},
            "tags": {"type": "ARRAY", "items": {"type": "STRING"}},
        },
        "required": ["name", "home"],
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        (
            {"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}], "nullable": True},
        ),
        ({"type": "null"}, {"type": "STRING", "nullable": True}),
        ({"anyOf": [{"type": "null"}]}, {"type": "STRING", "nullable": True}),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
            {"type": "ARRAY", "items": {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}},
        ),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "string", "format": "email"}, {"type": "STRING"}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "INTEGER"}),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}),
        ({"enum": [1, 2]}, {"type": "NUMBER"}),
        ({}, {"type": "STRING"}),
        (
            {"type": "object", "properties": {"a": {}}, "required": ["a", "b", []]},
            {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]},
        ),
        (
            {
                "allOf": [
                    {"$ref": "#/$defs/Base"},
                    {"properties": {"b": {"type": "number"}}, "required": ["b"]},
                ],
                "$defs": {
                    "Base": {
                        "type": "object",
                        "properties": {"a": {"type": "string"}},
                        "required": ["a"],
                    }
                },
            },
            {
                "type": "OBJECT",
                "properties": {"a": {"type": "STRING"}, "b": {"type": "NUMBER"}},
                "required": ["b", "a"],
            },
        ),
        (
            {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}},
            {"type": "BOOLEAN"},
        ),
    ],
)
def test_the_openapi_form_of(schema: dict[str, Json], expected: dict[str, Json]) -> None:
    assert to_openapi(schema) == expected


def test_a_schema_that_contains_itself_ends_in_a_bare_object() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
    }
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
    assert to_openapi(schema) == {
        "type": "OBJECT",
        "properties": {"next": {"type": "OBJECT", "nullable": True}},
    }


@pytest.mark.parametrize("reference", ["#/$defs/Nobody", "other.json", "#/$defs/A/x"])
def test_a_reference_that_leads_nowhere_is_a_bad_request(reference: str) -> None:
    with pytest.raises(BadRequest, match="ref"):
        to_openapi({"$ref": reference, "$defs": {"A": {"type": "string"}}})


def test_references_cannot_grow_a_schema_without_bound() -> None:
    defs: dict[str, Json] = {"d0": {"type": "string"}}
    for level in range(1, 40):
        twice = {"$ref": f"#/$defs/d{level - 1}"}
        defs[f"d{level}"] = {"type": "object", "properties": {"a": twice, "b": twice}}
    with pytest.raises(BadRequest):
        to_openapi({"$ref": "#/$defs/d39", "$defs": defs})


@pytest.mark.parametrize("convert", [for_parameters, for_response, to_openapi, from_openapi])
def test_a_schema_has_a_greatest_depth(convert: Any) -> None:
    schema: dict[str, Json] = {"type": "string"}
    for _ in range(MAX_DEPTH + 1):
        schema = {"type": "array", "items": schema}
    with pytest.raises(BadRequest, match="deep"):
        convert(schema)


def test_googles_schema_becomes_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "property_ordering": ["b", "a"],
        "properties": {
            "a": {"type": "INTEGER", "nullable": True},
            "b": {"type": "ARRAY", "min_items": "1", "items": {"type": "STRING"}},
            "c": {"type": "STRING", "format": "enum", "enum": ["x"], "nullable": True},
            "d": {"any_of": [{"type": "STRING"}, {"type": "BOOLEAN"}], "nullable": True},
        },
        "required": ["a"],
    }
    converted = from_openapi(schema)
    assert converted == {
        "type": "object",
        "properties": {
            "b": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            "a": {"type": ["integer", "null"]},
            "c": {"type": ["string", "null"], "enum": ["x", None]},
            "d": {"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "null"}]},
        },
        "required": ["a"],
    }
    assert list(converted["properties"]) == ["b", "a", "c", "d"]


def schemas() -> st.SearchStrategy[Any]:
    words = st.sampled_from(WORDS)
    atoms = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), words)
    inner = st.recursive(
        atoms,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)
        ),
        max_leaves=20,
    )
    return st.dictionaries(words, inner, max_size=5)


@pytest.mark.parametrize("convert", [for_parameters, for_response, to_openapi, from_openapi])
@settings(max_examples=300)
@given(schema=schemas())
def test_any_object_is_converted_or_a_bad_request(convert: Any, schema: dict[str, Json]) -> None:
    try:
        assert isinstance(convert(schema), dict)
    except BadRequest:
        return
