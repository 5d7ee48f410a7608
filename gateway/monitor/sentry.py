"""Reports to a server that speaks Sentry's envelopes: Sentry itself, GlitchTip, Bugsink.

https://develop.sentry.dev/sdk/data-model/envelopes/ . Without Sentry's own package, which would
send the values of variables, prompts among them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import orjson

from gateway.version import VERSION

LIMIT_S = 5.0


class Collector:
    """Sends one report; raises OSError where the server does not take it."""

    def __init__(self, dsn: str) -> None:
        """Raises ValueError for a DSN that is none; the text does not repeat it."""
        parts = urlsplit(dsn)
        path, _, project = parts.path.rpartition("/")
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or not parts.username
            or not re.fullmatch(r"[\w-]+", project)
        ):
            raise ValueError("it must be https://KEY@HOST/PROJECT")
        place = parts.netloc.rpartition("@")[2]
        self._url = f"{parts.scheme}://{place}{path}/api/{project}/envelope/"
        self._auth = (
            f"Sentry sentry_version=7, sentry_client=pointsman/{VERSION}, "
            f"sentry_key={parts.username}"
        )

    def __call__(self, report: Mapping[str, Any]) -> None:
        event = _event(report)
        payload = orjson.dumps(event, default=str)
        head = {"event_id": event["event_id"], "sent_at": report["time"]}
        item = {"type": "event", "length": len(payload), "content_type": "application/json"}
        body = b"\n".join([orjson.dumps(head), orjson.dumps(item), payload, b""])
        headers = {
            "Content-Type": "application/x-sentry-envelope",
            "X-Sentry-Auth": self._auth,
            "User-Agent": f"pointsman/{VERSION}",
        }
        # The scheme was looked at above.
        asked = Request(self._url, data=body, headers=headers)  # noqa: S310
        with urlopen(asked, timeout=LIMIT_S) as answer:  # noqa: S310
            answer.read()


def _event(report: Mapping[str, Any]) -> dict[str, Any]:
    """In the attributes that https://develop.sentry.dev/sdk/data-model/event-payloads/ names."""
    context = report["context"]
    event: dict[str, Any] = {
        "event_id": uuid.uuid4().hex,
        "timestamp": report["time"],
        "platform": "python",
        "level": report["level"],
        "logger": report["logger"],
        "server_name": report["host"],
        "release": f"pointsman@{report['release']}",
        "logentry": {"formatted": report["message"]},
        "tags": {
            name: str(context[name])[:200]
            for name in ("request_id", "route", "method", "job")
            if context.get(name)
        },
        "extra": {**context, "more": report["more"], "process": report["process"]},
    }
    fault = report["exception"]
    if fault is not None:
        frames = [
            {
                "filename": frame["file"],
                "lineno": frame["line"],
                "function": frame["function"],
                "in_app": "site-packages" not in frame["file"],
            }
            for frame in fault["stack"]
        ]
        value = {"type": fault["type"], "module": fault["module"], "value": fault["message"]}
        event["exception"] = {"values": [{**value, "stacktrace": {"frames": frames}}]}
    return event
