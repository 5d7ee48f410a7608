"""What a caller wishes of an answer, read alike at both of OpenAI's doors: which tool, which form,
how much thought.

Chat Completions wraps a thing in an object of its kind ({"function": {"name": ...}}), Responses
lays it flat ({"name": ...}): `wraps` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from chat.request import Effort, Json, ResponseFormat, Tool, ToolChoice
from dialects import reading
from dialects.reading import bad

_EFFORTS: tuple[Effort, ...] = get_args(Effort)


def read_choice(
    body: Mapping[str, Json], tools: tuple[Tool, ...], *, wraps: bool
) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """The tools that may be called, and the choice among them. Raises BadRequest."""
    choice = body.get("tool_choice")
    if choice is None:
        return tools, None
    if choice == "auto" or choice == "none" or choice == "required":
        if choice == "required" and not tools:
            bad("tool_choice", "asks for a call, and there are no tools.")
        return tools, ToolChoice(choice)
    if not isinstance(choice, dict):
        bad("tool_choice", 'must be "auto", "none", "required" or an object.')
    kind = choice.get("type")
    if kind == "function":
        return tools, ToolChoice("named", (_named(choice, "tool_choice.", tools, wraps),))
    if kind != "allowed_tools":
        bad("tool_choice.type", 'must be "function" or "allowed_tools".')
    allowed, path = _inside(choice, "tool_choice.", "allowed_tools", wraps)
    mode = allowed.get("mode", "auto")
    if mode != "auto" and mode != "required":
        bad(path + "mode", 'must be "auto" or "required".')
    names = {
        _named(item, where, tools, wraps) for where, item in reading.objects(allowed, "tools", path)
    }
    if not names:
        bad(path + "tools", "must not be empty.")
    return tuple(tool for tool in tools if tool.name in names), ToolChoice(mode)


def read_format(
    wanted: Mapping[str, Json] | None, path: str, *, wraps: bool
) -> ResponseFormat | None:
    """`path` is the object's place, with a dot. A wrapped schema may be left out, as hosts take
    that for any object. Raises BadRequest."""
    if wanted is None:
        return None
    kind = reading.text(wanted, "type", path)
    if kind == "text":
        return ResponseFormat("text")
    if kind == "json_object":
        return ResponseFormat("json_object")
    if kind != "json_schema":
        bad(path + "type", 'must be "text", "json_object" or "json_schema".')
    told, path = _inside(wanted, path, "json_schema", wraps)
    name, schema = (
        (reading.optional_text, reading.optional_object)
        if wraps
        else (reading.filled_text, reading.required_object)
    )
    return ResponseFormat(
        "json_schema",
        name=name(told, "name", path),
        schema=schema(told, "schema", path),
        strict=reading.flag(told, "strict", path),
        description=reading.optional_text(told, "description", path),
        where=path + "schema",
    )


def read_effort(body: Mapping[str, Json], field: str, path: str = "") -> Effort | None:
    """Raises BadRequest."""
    effort = reading.optional_text(body, field, path)
    if effort is None:
        return None
    for known in _EFFORTS:
        if effort == known:
            return known
    return bad(path + field, f"must be one of {', '.join(_EFFORTS)}.")


def _inside(
    item: Mapping[str, Json], path: str, kind: str, wraps: bool
) -> tuple[Mapping[str, Json], str]:
    if not wraps:
        return item, path
    return reading.required_object(item, kind, path), f"{path}{kind}."


def _named(item: Mapping[str, Json], path: str, tools: tuple[Tool, ...], wraps: bool) -> str:
    function, path = _inside(item, path, "function", wraps)
    name = reading.filled_text(function, "name", path)
    if name not in {tool.name for tool in tools}:
        bad(path + "name", f"names {name!r}, which is none of the tools.")
    return name
