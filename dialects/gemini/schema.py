"""JSON Schema -> what Gemini takes, and Gemini's own Schema -> JSON Schema.

Gemini has two fields for each schema. The JSON Schema one (responseJsonSchema,
parametersJsonSchema) takes a part of JSON Schema, `$ref` included, but no siblings of a `$ref`.
The older one (responseSchema, parameters) is a message of OpenAPI 3.0: types in capitals,
`nullable`, no `$ref`, and the whole request is refused for one unknown keyword.
Source: https://ai.google.dev/api/generate-content#GenerationConfig and /caching#Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import unquote

from chat.errors import BadRequest
from chat.request import Json
from dialects.gemini.spelling import camel

MAX_DEPTH = 64
WORDS = ("title", "description")
MAX_NODES = 20_000
"""Inlining repeats what is referred to; a small schema of references can grow without bound."""

JSON_KEYWORDS = frozenset(
    [
        "$id",
        "$defs",
        "$ref",
        "$anchor",
        "type",
        "format",
        "title",
        "description",
        "enum",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "anyOf",
        "oneOf",
        "properties",
        "additionalProperties",
        "required",
        "propertyOrdering",
    ]
)
OPENAPI_KEYWORDS = frozenset(
    [
        "title",
        "description",
        "default",
        "example",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "minimum",
        "maximum",
        "propertyOrdering",
    ]
)
OPENAPI_FORMATS = {
    "NUMBER": ("float", "double"),
    "INTEGER": ("int32", "int64"),
    "STRING": ("enum", "date-time"),
}
_MAPS = frozenset(("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"))
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_ONES = frozenset(
    [
        "items",
        "additionalProperties",
        "not",
        "contains",
        "propertyNames",
        "if",
        "then",
        "else",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
_COUNTS = frozenset(
    ["minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"]
)


def for_parameters(schema: Mapping[str, Json]) -> dict[str, Json]:
    """JSON Schema for parametersJsonSchema: all of it but `$schema` and siblings of `$ref`."""
    return _clean_object(schema, None, 0)


def for_response(schema: Mapping[str, Json]) -> dict[str, Json]:
    """JSON Schema for responseJsonSchema: only the keywords that Google lists."""
    return _clean_object(schema, JSON_KEYWORDS, 0)


def to_openapi(schema: Mapping[str, Json]) -> dict[str, Json]:
    """The OpenAPI form: references inlined, null unions -> nullable, types in capitals.

    A reference to what contains it becomes a bare OBJECT.
    Raises BadRequest for a reference that leads nowhere or a schema beyond MAX_NODES.
    """
    return _Inliner(schema).convert(schema, (), 0)


def from_openapi(schema: Mapping[str, Json]) -> dict[str, Json]:
    """Gemini's Schema (either case, either spelling) as JSON Schema."""
    return _from_openapi(schema, 0)


def _too_deep() -> NoReturn:
    raise BadRequest(f"A JSON Schema is nested more than {MAX_DEPTH} levels deep.")


def _clean(schema: Json, keep: frozenset[str] | None, depth: int) -> Json:
    return _clean_object(schema, keep, depth) if isinstance(schema, dict) else schema


def _clean_object(
    schema: Mapping[str, Json], keep: frozenset[str] | None, depth: int
) -> dict[str, Json]:
    if depth > MAX_DEPTH:
        _too_deep()
    if keep is not None:
        schema = _flattened(schema)
    referring = isinstance(schema.get("$ref"), str)
    clean: dict[str, Json] = {}
    for name, value in schema.items():
        if name == "$schema" or (referring and not name.startswith("$") and name != "definitions"):
            continue
        if keep is not None:
            if name == "definitions":
                name = "$defs"
            elif name == "$ref" and isinstance(value, str):
                value = value.replace("#/definitions/", "#/$defs/", 1)
            if name not in keep:
                continue
        if name in _MAPS and isinstance(value, dict):
            value = {key: _clean(item, keep, depth + 1) for key, item in value.items()}
        elif name in _LISTS and isinstance(value, list):
            value = [_clean(item, keep, depth + 1) for item in value]
        elif name in _ONES:
            value = _clean(value, keep, depth + 1)
        clean[name] = value
    return clean


def _flattened(schema: Mapping[str, Json]) -> dict[str, Json]:
    """`allOf` folded into the schema around it, `const` as an enum of one."""
    flat = dict(schema)
    for part in _list(flat.pop("allOf", None)):
        if not isinstance(part, dict):
            continue
        for name, value in _flattened(part).items():
            here = flat.get(name)
            if name == "properties" and isinstance(here, dict) and isinstance(value, dict):
                flat[name] = {**value, **here}
            elif name == "required" and isinstance(here, list) and isinstance(value, list):
                flat[name] = [*here, *(item for item in value if item not in here)]
            else:
                flat.setdefault(name, value)
    if "const" in flat:
        constant = flat.pop("const")
        if isinstance(constant, str | int | float) and not isinstance(constant, bool):
            flat.setdefault("enum", [constant])
    return flat


class _Inliner:
    def __init__(self, root: Mapping[str, Json]) -> None:
        self._root = root
        self._left = MAX_NODES

    def convert(self, schema: Json, inside: tuple[str, ...], depth: int) -> dict[str, Json]:
        """`inside`: the references that are being inlined around this place."""
        self._left -= 1
        if self._left < 0:
            raise BadRequest(f"A JSON Schema has more than {MAX_NODES} parts once inlined.")
        if depth > MAX_DEPTH:
            _too_deep()
        if not isinstance(schema, dict):
            return {"type": "STRING"}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in inside:
                return {"type": "OBJECT"}
            target = self._resolve(reference)
            if isinstance(target, dict):
                parts = [*_list(schema.get("allOf")), target]
                siblings = {name: value for name, value in schema.items() if name != "$ref"}
                target = _flattened({**siblings, "allOf": parts})
            return self.convert(target, (*inside, reference), depth + 1)
        return self._plain(_flattened(schema), inside, depth)

    def _plain(
        self, schema: dict[str, Json], inside: tuple[str, ...], depth: int
    ) -> dict[str, Json]:
        if isinstance(schema.get("$ref"), str):
            return self.convert(schema, inside, depth + 1)
        types = schema.get("type")
        names = [name for name in (types if isinstance(types, list) else [types]) if name]
        nullable = schema.get("nullable") is True or "null" in names
        names = [name for name in names if name != "null"]
        options = [*_list(schema.get("anyOf")), *_list(schema.get("oneOf"))]
        if options:
            return self._union(schema, options, nullable, inside, depth)
        if len(names) > 1:
            rest = {name: value for name, value in schema.items() if name != "type"}
            options = [{**rest, "type": name} for name in names]
            return self._union(schema, options, nullable, inside, depth)
        converted = self._typed(schema, names[0] if names else None, inside, depth)
        if nullable:
            converted["nullable"] = True
        return converted

    def _union(
        self,
        schema: dict[str, Json],
        options: list[Json],
        nullable: bool,
        inside: tuple[str, ...],
        depth: int,
    ) -> dict[str, Json]:
        real = [
            option
            for option in options
            if not (isinstance(option, dict) and option.get("type") == "null")
        ]
        nullable = nullable or len(real) < len(options)
        words = {key: schema[key] for key in WORDS if key in schema}
        if not real:
            union: dict[str, Json] = {"type": "STRING"}
        elif len(real) == 1:
            union = self.convert(real[0], inside, depth + 1)
        else:
            union = {"anyOf": [self.convert(option, inside, depth + 1) for option in real]}
        union.update(words)
        if nullable:
            union["nullable"] = True
        return union

    def _typed(
        self, schema: dict[str, Json], name: Json, inside: tuple[str, ...], depth: int
    ) -> dict[str, Json]:
        kind = name.upper() if isinstance(name, str) else _guess(schema)
        converted: dict[str, Json] = {"type": kind}
        for keyword in OPENAPI_KEYWORDS & schema.keys():
            converted[keyword] = schema[keyword]
        if schema.get("format") in OPENAPI_FORMATS.get(kind, ()):
            converted["format"] = schema["format"]
        enum = schema.get("enum")
        if kind == "STRING" and isinstance(enum, list):
            words = [word for word in enum if isinstance(word, str) and word]
            if words:
                converted["enum"] = words
            if None in enum:
                converted["nullable"] = True
        if kind == "ARRAY":
            items = schema.get("items")
            first = _list(schema.get("prefixItems"))
            if not isinstance(items, dict) and first:
                items = first[0] if len(first) == 1 else {"anyOf": first}
            converted["items"] = self.convert(items, inside, depth + 1)
        properties = schema.get("properties")
        if kind == "OBJECT" and isinstance(properties, dict):
            converted["properties"] = {
                key: self.convert(value, inside, depth + 1) for key, value in properties.items()
            }
            wanted = _list(schema.get("required"))
            required = [key for key in wanted if isinstance(key, str) and key in properties]
            if required:
                converted["required"] = required
        return converted

    def _resolve(self, reference: str) -> Json:
        place: Json = self._root
        if reference != "#" and not reference.startswith("#/"):
            raise BadRequest(f"The JSON Schema's $ref {reference!r} points outside the schema.")
        for step in reference[2:].split("/") if reference != "#" else ():
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if not isinstance(place, Mapping) or step not in place:
                raise BadRequest(f"The JSON Schema's $ref {reference!r} leads nowhere.")
            place = place[step]
        return place


def _guess(schema: Mapping[str, Json]) -> str:
    if "properties" in schema:
        return "OBJECT"
    if "items" in schema or "prefixItems" in schema:
        return "ARRAY"
    enum = schema.get("enum")
    if isinstance(enum, list) and enum and all(isinstance(item, int | float) for item in enum):
        return "NUMBER"
    return "STRING"


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _from_openapi(schema: Mapping[str, Json], depth: int) -> dict[str, Json]:
    if depth > MAX_DEPTH:
        _too_deep()
    schema = camel(schema)
    order = schema.pop("propertyOrdering", None)
    nullable = schema.pop("nullable", None) is True
    plain: dict[str, Json] = {}
    for name, value in schema.items():
        if name == "type" and isinstance(value, str):
            if value.upper() != "TYPE_UNSPECIFIED":
                plain["type"] = value.lower()
        elif name == "format" and value == "enum":
            continue
        elif name in _MAPS and isinstance(value, dict):
            plain[name] = {
                key: _from_openapi(item, depth + 1) if isinstance(item, dict) else item
                for key, item in _ordered(value, order if name == "properties" else None).items()
            }
        elif name in _LISTS and isinstance(value, list):
            plain[name] = [
                _from_openapi(item, depth + 1) if isinstance(item, dict) else item for item in value
            ]
        elif name in _ONES and isinstance(value, dict):
            plain[name] = _from_openapi(value, depth + 1)
        elif name in _COUNTS and isinstance(value, str) and value.isdecimal():
            # int64 travels as a string in the JSON of protobuf.
            plain[name] = int(value)
        else:
            plain[name] = value
    return _with_null(plain) if nullable else plain


def _with_null(plain: dict[str, Json]) -> dict[str, Json]:
    if isinstance(plain.get("enum"), list) and None not in plain["enum"]:
        plain["enum"] = [*plain["enum"], None]
    if isinstance(plain.get("anyOf"), list):
        plain["anyOf"] = [*plain["anyOf"], {"type": "null"}]
    elif isinstance(plain.get("type"), str):
        plain["type"] = [plain["type"], "null"]
    return plain


def _ordered(properties: dict[str, Json], order: Json) -> dict[str, Json]:
    """JSON keeps the order of its keys, so propertyOrdering needs no keyword of its own."""
    if not isinstance(order, list):
        return properties
    first = [name for name in order if isinstance(name, str) and name in properties]
    return {name: properties[name] for name in [*first, *properties]}
