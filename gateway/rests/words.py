"""What one process tells the others of its breakers, as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from chat.errors import Broken, Denied, Limit, Refused, Timeout, UpstreamError
from gateway.engine.cooldown import Change
from gateway.engine.tally import Counted

KINDS: dict[str, type[UpstreamError]] = {
    kind.__name__: kind for kind in (Refused, Timeout, Limit, Denied, Broken)
}
MAX_MESSAGE = 500


def written(change: Change, sender: str) -> bytes:
    return orjson.dumps(
        {
            "from": sender,
            "target": change.target,
            "seconds": change.seconds,
            "firm": change.firm,
            "rests": change.rests,
            "trusted": change.trusted,
            "counts": change.counts,
            "error": _written(change.error),
        }
    )


def read(raw: bytes | str) -> tuple[str, Change]:
    """The sender, and what it says. Raises ValueError, KeyError or TypeError on nonsense."""
    said = orjson.loads(raw)
    change = Change(
        target=str(said["target"]),
        seconds=float(said["seconds"]),
        error=_read(said["error"]),
        firm=bool(said["firm"]),
        rests=int(said["rests"]),
        trusted=bool(said["trusted"]),
        # One of another version may not say it.
        counts=bool(said.get("counts")),
    )
    return str(said["from"]), change


def counts_written(counts: Iterable[Counted], sender: str) -> bytes:
    rows = [[one.target, one.failures, one.answers, _written(one.error)] for one in counts]
    return orjson.dumps({"from": sender, "rows": rows})


def counts_read(raw: bytes | str) -> tuple[str, list[Counted]]:
    """Raises as `read`."""
    said = orjson.loads(raw)
    rows = [
        Counted(str(target), max(0, int(failures)), max(0, int(answers)), _read(error))
        for target, failures, answers, error in said["rows"]
    ]
    return str(said["from"]), rows


def _written(error: UpstreamError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "kind": type(error).__name__,
        "message": error.message[:MAX_MESSAGE],
        "status": error.upstream_status,
        "code": error.code,
    }


def _read(said: Any) -> UpstreamError | None:
    if said is None:
        return None
    kind = KINDS.get(said["kind"], Broken)
    return kind(str(said["message"]), upstream_status=said["status"], code=said["code"])
