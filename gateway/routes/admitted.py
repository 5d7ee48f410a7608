"""For doors that answer without the pipeline: the caller's limits hold there, too."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from aiohttp import web

from gateway.accounts.limits import Ticket
from gateway.middleware import CALLER
from gateway.services import SERVICES

GRANT = web.RequestKey("grant", Ticket)


async def admitted(request: web.Request, *, anthropic: bool = False) -> Ticket | None:
    """None where nothing limits the caller. To be settled. Raises NotAllowed, LimitReached or
    BudgetReached."""
    limits = request.app[SERVICES].limits
    app = limits.app_of(request[CALLER])
    found = limits.enter(app, anthropic=anthropic) if app is not None else None
    ticket = await found if isinstance(found, Awaitable) else found
    if ticket is not None:
        request[GRANT] = ticket
    return ticket


def limits_of(request: web.Request) -> Mapping[str, str]:
    """The headers that tell an admitted caller what is left."""
    ticket = request.get(GRANT)
    return {} if ticket is None else ticket.headers
