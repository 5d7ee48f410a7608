"""What a handler asks before it serves an operator."""

from __future__ import annotations

from aiohttp import web

from chat.errors import NotAllowed, NotIdentified
from gateway.engine.ports import Caller
from gateway.middleware import CALLER


def require_admin(request: web.Request) -> Caller:
    """Raises NotIdentified without a key, NotAllowed with another's."""
    caller = request[CALLER]
    if caller.admin:
        return caller
    if caller.id == "open":
        raise NotIdentified("This needs the admin token, as a Bearer.")
    raise NotAllowed("This needs the admin token; an app code does not open it.")
