"""Requests that say nothing: with them a client loads a model, or unloads it."""

from __future__ import annotations

import re

from chat.request import Json
from dialects.base import Now
from dialects.ollama.respond import created_at

_ZERO = re.compile(r"\s*[-+]?0+(?:\.0*)?(?:ns|us|µs|ms|s|m|h)?\s*")


def load_reply(body: Json, now: Now) -> Json | None:
    """The whole answer to a body of /api/chat or /api/generate without a message or prompt; None
    when the body asks something, or is no request at all. Stream or not, it is one object, and
    no upstream hears of it (PROTOCOLS 5.2)."""
    if not isinstance(body, dict) or body.get("messages") or body.get("prompt"):
        return None
    model = body.get("model")
    if not isinstance(model, str) or not model:
        return None
    reply: dict[str, Json] = {"model": model, "created_at": created_at(now())}
    # With neither field, both doors may have been meant, and each client reads only its own.
    if "prompt" not in body:
        reply["message"] = {"role": "assistant", "content": ""}
    if "messages" not in body:
        reply["response"] = ""
    reply["done"] = True
    reply["done_reason"] = "unload" if _is_zero(body.get("keep_alive")) else "load"
    return reply


def _is_zero(keep_alive: Json) -> bool:
    if isinstance(keep_alive, str):
        return _ZERO.fullmatch(keep_alive) is not None
    return isinstance(keep_alive, int | float) and keep_alive == 0 and keep_alive is not False
