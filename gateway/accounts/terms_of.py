"""A caller's or operator's words -> Terms, with errors that name the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from chat.errors import BadRequest
from chat.request import Json
from gateway.terms import Terms

SHOWN = 50
"""Characters of a field's name that an error repeats."""


def terms_of(given: Mapping[str, Json]) -> Terms:
    """null is the same as absent. Raises BadRequest."""
    known = Terms.model_fields
    said = {name: value for name, value in given.items() if value is not None or name not in known}
    try:
        # As JSON, so that strict means what it means there: no "5" for 5.
        return Terms.model_validate_json(orjson.dumps(said), strict=True)
    except ValidationError as fault:
        raise _of(fault) from None
    except (orjson.JSONEncodeError, RecursionError):
        raise BadRequest("The body is nested too deep.") from None


def changed(terms: Terms, given: Mapping[str, Json]) -> Terms:
    """`given` over what stands; null takes a limit away. Raises BadRequest."""
    return terms_of({**terms.model_dump(mode="json", exclude_none=True), **given})


def words(terms: Terms) -> dict[str, Any]:
    """As JSON has it: money as text, so that nothing is lost; None where there is no limit."""
    return terms.model_dump(mode="json")


def _of(fault: ValidationError) -> BadRequest:
    """The first mistake; the value is left out, as it may be long, or a secret."""
    error = fault.errors(include_url=False, include_input=False, include_context=False)[0]
    steps = [str(step)[:SHOWN] for step in error["loc"]]
    field = steps[0] + "".join(f"[{step}]" for step in steps[1:]) if steps else "body"
    if error["type"] == "missing":
        said = "is required."
    elif error["type"] == "extra_forbidden":
        said = f"is not a field here; there are {', '.join(Terms.model_fields)}."
    else:
        said = error["msg"].removeprefix("Value error, ")
        said = said[0].lower() + said[1:] + "."
        if said.startswith(("input should", "string should", "tuple should", "decimal input")):
            said = said.split("should ", 1)[1]
            said = "must " + said
    return BadRequest(f"{field} {said}", param=field)
