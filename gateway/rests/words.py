"""What one process tells the others of a breaker, as JSON."""

from __future__ import annotations

import orjson

from chat.errors import Broken, Denied, Limit, Refused, Timeout, UpstreamError
from gateway.engine.cooldown import Change

KINDS: dict[str, type[UpstreamError]] = {
    kind.__name__: kind for kind in (Refused, Timeout, Limit, Denied, Broken)
}
MAX_MESSAGE = 500


def written(change: Change, sender: str) -> bytes:
    error = change.error
    return orjson.dumps(
        {
            "from": sender,
            "target": change.target,
            "seconds": change.seconds,
            "firm": change.firm,
            "rests": change.rests,
            "trusted": change.trusted,
            "error": None
            if error is None
            else {
                "kind": type(error).__name__,
                "message": error.message[:MAX_MESSAGE],
                "status": error.upstream_status,
                "code": error.code,
            },
        }
    )


def read(raw: bytes | str) -> tuple[str, Change]:
    """The sender, and what it says. Raises ValueError, KeyError or TypeError on nonsense."""
    said = orjson.loads(raw)
    error = said["error"]
    failure = None
    if error is not None:
        kind = KINDS.get(error["kind"], Broken)
        failure = kind(str(error["message"]), upstream_status=error["status"], code=error["code"])
    change = Change(
        target=str(said["target"]),
        seconds=float(said["seconds"]),
        error=failure,
        firm=bool(said["firm"]),
        rests=int(said["rests"]),
        trusted=bool(said["trusted"]),
    )
    return str(said["from"]), change
