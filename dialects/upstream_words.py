"""What an upstream says of its failure, in words that may be shown and logged.

Hosts, and the proxies before them, write an error as {"error": {"message": ...}},
{"error": "text"}, {"message": ...}, {"detail": ...}, a list of one such object, plain text or
HTML. The words may quote the key that was refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from chat.request import Json

LONGEST = 500
"""Characters kept of a message."""
HIDDEN = "[hidden]"

_MOST_OF_A_BODY = 65536
_TITLE = re.compile(r"<title[^>]*>([^<]+)</title", re.IGNORECASE)
_FIELDS = ("message", "detail", "error", "msg", "reason")
_NAMED_KEY = re.compile(
    r"((?i:\bbearer\s+|(?:api[-_ ]?key|token)[\"']?\s*[=:]\s*[\"']?)|[?&]key=)[^\s\"',;&]{4,}"
)
_KEY = re.compile(
    r"\b(?:sk|pk|rk|gsk|tgp)[-_][\w*.-]{6,}"
    # These are beginnings of plain words too, so what follows must have a digit or a star.
    r"|\b(?:xai|hf|nvapi|ddc|key|csk|fw|r8|ghp|glpat)[-_](?=[\w*.-]*[\d*])[\w*.-]{6,}"
    r"|\bAIza[\w*-]{8,}|\b(?:AQ|ya29)\.[\w*.-]{6,}"
    r"|\b[0-9a-f]{32}\.[\w-]{8,}|\b(?=[A-Za-z_]*\d)[A-Za-z0-9_]{40,}\b"
)


def masked(message: str) -> str:
    """At most 500 characters, and nothing in them that looks like a key. Keys go first, so that
    no half of one is left at the end."""
    message = _NAMED_KEY.sub(r"\1" + HIDDEN, message.strip())
    message = _KEY.sub(HIDDEN, message)
    return message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"


def message_of(words: str, status: int | None) -> str:
    """The words, masked; where there are none, a sentence with the HTTP status (None: the error
    came inside an answer)."""
    if shown := masked(words):
        return shown
    if status is None:
        return "The upstream reported an error."
    return f"The upstream answered HTTP {status}."


def said_in(body: bytes) -> Json:
    """The JSON of an error's body; else its text on one line, or the title of an HTML page."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = " ".join(body[:_MOST_OF_A_BODY].decode("utf-8", "replace").split())
    if not text.startswith("<"):
        return text
    title = _TITLE.search(text)
    return title[1].strip() if title else ""


def words_in(said: Json) -> str:
    """The words of an error, wherever they were put; "" when there are none."""
    said = first_object(said)
    if isinstance(said, str):
        return said
    if not isinstance(said, dict):
        return ""
    error = said.get("error")
    if isinstance(error, str) and error.strip():
        return error
    if not isinstance(error, dict):
        return _words(said)
    kind = error.get("type")
    return _words(error) or _words(said) or (kind if isinstance(kind, str) else "")


def first_object(said: Json) -> Json:
    """The first object of a list, as Google and its imitators wrap an error; else what it was."""
    if not isinstance(said, list):
        return said
    return next((item for item in said if isinstance(item, dict)), None)


def _words(carrier: Mapping[str, Json]) -> str:
    for field in _FIELDS:
        value = carrier.get(field)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list):
            # What FastAPI says of a body that it could not validate.
            found = (item.get("msg") for item in value if isinstance(item, dict))
            if words := "; ".join(text for text in found if isinstance(text, str)):
                return words
    return ""
