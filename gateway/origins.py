"""Which web pages may ask: CORS, and who may not even send.

A page of any site can make a browser send a simple POST to 127.0.0.1, and by DNS rebinding even
read the answer. So a request that carries a foreign Origin is refused, whatever it asks for, and
where no key is asked for, so is one whose Host is not this machine's own name. Programs send no
Origin; nothing changes for them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from aiohttp import hdrs, web

from chat.errors import NotAllowed

EXPOSED = ", ".join(
    (
        "X-Request-Id",
        "Request-Id",
        "Retry-After",
        "Retry-After-Ms",
        "X-Should-Retry",
        "X-Cache",
        "X-Pointsman-Target",
        "X-Pointsman-Structured",
        *(
            f"X-RateLimit-{part}-{what}"
            for what in ("Requests", "Tokens")
            for part in ("Limit", "Remaining", "Reset")
        ),
        *(
            f"Anthropic-RateLimit-{what}-{part}"
            for what in ("Requests", "Tokens")
            for part in ("Limit", "Remaining", "Reset")
        ),
    )
)
METHODS = "GET, HEAD, POST, PATCH, DELETE"
REMEMBERED_S = 600
"""How long a browser need not ask again."""
FOREIGN = "A page of {origin} may not ask here: [access] cors has who may."
NAMES = ("localhost", "host.docker.internal")


class Origins:
    """`allowed`: origins as a browser writes them, `*` in one standing for any text, e.g.
    http://localhost:*. `is_open` says whether anybody may ask without a key, only because this
    gateway listens on its own machine alone."""

    def __init__(self, allowed: Sequence[str], is_open: Callable[[], bool]) -> None:
        self._is_open = is_open
        self.use(allowed)

    def use(self, allowed: Sequence[str]) -> None:
        """From the next request on."""
        self._patterns = [
            re.compile(".*".join(re.escape(piece) for piece in origin.split("*")))
            for origin in allowed
        ]
        # Bounded, since anybody can make up an origin.
        self._allows = lru_cache(maxsize=512)(self._found)

    def _found(self, origin: str) -> bool:
        return any(pattern.fullmatch(origin) for pattern in self._patterns)

    def allows(self, origin: str) -> bool:
        return self._allows(origin)

    def check(self, request: web.Request) -> None:
        """Raises NotAllowed."""
        origin = request.headers.get(hdrs.ORIGIN)
        host = request.host
        if origin is not None and not self.allows(origin) and not _same(origin, host):
            raise NotAllowed(FOREIGN.format(origin=origin[:100]), code="origin_not_allowed")
        if self._is_open() and not _is_own(host):
            raise NotAllowed(
                f"This gateway asks for no key, so it is asked by its own name only, "
                f"not as {host[:100]}.",
                code="host_not_allowed",
            )

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks whether it may ask. Raises NotAllowed."""
        self.check(request)
        if request.method == hdrs.METH_OPTIONS and (
            hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        ):
            return _preflight(request)
        return None

    def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """On every answer, streams and errors too."""
        headers = response.headers
        headers.setdefault("X-Content-Type-Options", "nosniff")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None:
            return
        headers.add(hdrs.VARY, hdrs.ORIGIN)
        if self.allows(origin):
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED


def _preflight(request: web.Request) -> web.Response:
    headers: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
        hdrs.ACCESS_CONTROL_MAX_AGE: str(REMEMBERED_S),
    }
    wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS)
    if wanted is not None and wanted.isprintable():
        headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = wanted
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers=headers)


def _same(origin: str, host: str) -> bool:
    """A page of our own. A proxy in front of us may speak TLS."""
    return origin in (f"http://{host}", f"https://{host}")


@lru_cache(maxsize=512)
def _is_own(host: str) -> bool:
    """Whether a Host header says this machine: a rebound name says its own."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    name = name.strip("[]").lower().rstrip(".")
    if name in NAMES or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    # An address was not looked up, so it cannot have been rebound.
    return True
