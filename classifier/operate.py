"""For the operator's page, by way of the gateway: the card, and a candidate in or out again.

Who reaches the classifier may do this, and it listens on its own machine. A browser's page may
not: whatever carries an Origin is refused. Only the one candidate is ever promoted, the shadow or
`var/candidate`; no path comes from a caller.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
from aiohttp import web

from classifier.artefact import ArtefactError
from classifier.bodies import BadRequest, error_body
from classifier.promote import promote, rollback
from classifier.settings import ROOT, Settings

JSON = {"Content-Type": "application/json"}
LONGEST = 500
"""Characters of the reason for going against the gates."""


def candidate_of(chosen: Settings) -> Path:
    return chosen.shadow or ROOT / "var" / "candidate"


async def promote_route(request: web.Request, chosen: Settings) -> web.Response:
    """POST /promote: `{"force": "a reason"}` goes against the gates. 409 when they say no."""
    force = _force(await request.read(), request)
    try:
        outcome = await asyncio.to_thread(promote, candidate_of(chosen), chosen, force)
    except ArtefactError as fault:
        return _refused(str(fault))
    if not outcome.promoted:
        return _refused(outcome.words)
    gates = [
        {"name": gate.name, "passed": gate.passed, "said": f"{gate.candidate} / {gate.active}"}
        for gate in outcome.gates
    ]
    body = {"status": "promoted", "message": outcome.words, "gates": gates}
    return web.Response(body=orjson.dumps(body), headers=JSON)


async def rollback_route(request: web.Request, chosen: Settings) -> web.Response:
    """POST /rollback: 409 when there is nothing to go back to."""
    _force(await request.read(), request)
    try:
        words = await asyncio.to_thread(rollback, chosen)
    except ArtefactError as fault:
        return _refused(str(fault))
    body = {"status": "rolled back", "message": words}
    return web.Response(body=orjson.dumps(body), headers=JSON)


def _force(raw: bytes, request: web.Request) -> str:
    """Raises BadRequest."""
    if "Origin" in request.headers:
        raise BadRequest("A page may not change the model: ask by the gateway.")
    if not raw.strip():
        return ""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as fault:
        raise BadRequest(f"The body is not valid JSON in UTF-8: {fault}.") from None
    if not isinstance(body, dict) or set(body) - {"force"}:
        raise BadRequest("The body must be an object; it may have the field force.")
    force = body.get("force") or ""
    if not isinstance(force, str) or len(force) > LONGEST:
        raise BadRequest(f"force must be a reason of at most {LONGEST} characters.", "force")
    return force


def _refused(words: str) -> web.Response:
    return web.Response(status=409, body=error_body(words, kind="refused"), headers=JSON)
