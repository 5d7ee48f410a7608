"""A lean HTTP/1.1 client: one POST or GET, its answer as it comes, the connection used again.

aiohttp's client costs 50 µs of CPU for each request that is relayed, more than everything that
the gateway itself does with it (bench/README.md). This one does what talking to an upstream
needs and nothing else: no redirects, no cookies, no proxies, HTTP/1.1 only; parsing is
httptools', which is Node's own parser. Time limits are the caller's, but for silence: `idle_s`
without a byte from the upstream ends the answer. Everything that goes wrong is a Fault.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from providers.connection import Answer, Connection, Fault, Origin
from providers.guard import RefusedAddressError, resolve_public

__all__ = ["Address", "Answer", "Client", "Fault", "Origin", "address"]

CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, ready to be asked: `path` with its query, `host` as the header wants it."""

    origin: Origin
    path: bytes
    host: bytes


def address(url: str) -> Address:
    """Raises ValueError for what is no http(s) URL. A fragment or a login is refused."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the URL must start with http:// or https:// and name a host")
    if parts.username is not None or parts.fragment:
        raise ValueError("the URL must hold neither a login nor a fragment")
    tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if any(character <= " " for character in path):
        raise ValueError("the URL's path must be encoded")
    host = (
        parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    )
    named = f"[{host}]" if ":" in host else host
    port = parts.port or (443 if tls else 80)
    if parts.port is not None:
        named = f"{named}:{port}"
    return Address(Origin(host, port, tls), path.encode("ascii", "strict"), named.encode())


class Client:
    """Connections by origin. `tls` is the context for https; None takes the system's trust."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
        self.carry: Callable[[], bytes] | None = None
        """Gives further header lines for each request, such as the trace that it belongs to."""
        self.guarded: dict[Origin, Sequence[str]] = {}
        """Origins that may only stand for public addresses, or those beside them (see guard.py).
        Looked at with each connection, which goes to the address that was looked at."""

    def ask(
        self,
        method: Literal["GET", "POST"],
        where: Address,
        headers: bytes,
        body: bytes = b"",
        *,
        idle_s: float,
        anew: bool = False,
    ) -> Awaitable[Answer]:
        """The answer, when its headers are there. `headers` are whole lines with CRLF, without
        Host and Content-Length. `anew`: on a connection that was not used before. Raises Fault.
        Cancelling closes the connection."""
        if self.carry is not None:
            headers += self.carry()
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\n%b" % (
            method.encode(),
            where.path,
            where.host,
            headers,
        )
        if method == "POST":
            head += b"Content-Length: %d\r\n\r\n" % len(body)
        else:
            head += b"\r\n"
        connection = None if anew else self._taken(where.origin)
        if connection is not None:
            return connection.ask(head + body, idle_s)
        return self._asked(where.origin, head + body, idle_s)

    async def close(self) -> None:
        """Closes every connection, also those in use."""
        for connection in list(self._open):
            connection.drop()
        self._idle.clear()
        # The transports close in the loop's next turn.
        await asyncio.sleep(0)

    def _taken(self, origin: Origin) -> Connection | None:
        """The connection that was used last: the others may then grow old and be closed."""
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.fresh():
                return connection
            connection.drop()
        return None

    async def _asked(self, origin: Origin, request: bytes, idle_s: float) -> Answer:
        connection = await self._connected(origin)
        return await connection.ask(request, idle_s)

    async def _connected(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        context: ssl.SSLContext | None = None
        if origin.tls:
            context = self._tls = self._tls or ssl.create_default_context()
        connection = Connection(self, origin, loop)
        try:
            async with asyncio.timeout(CONNECT_S):
                await loop.create_connection(
                    lambda: connection,
                    await self._at(origin),
                    origin.port,
                    ssl=context,
                    server_hostname=origin.host if origin.tls else None,
                )
        except TimeoutError:
            raise Fault("connect_timeout") from None
        except socket.gaierror:
            raise Fault("dns") from None
        except RefusedAddressError:
            raise Fault("refused") from None
        except ssl.SSLError:
            raise Fault("tls") from None
        except OSError:
            raise Fault("refused") from None
        return connection

    async def _at(self, origin: Origin) -> str:
        """The host to connect to; of a guarded one an address. Raises RefusedAddressError."""
        allow = self.guarded.get(origin)
        if allow is None:
            return origin.host
        named = f"[{origin.host}]" if ":" in origin.host else origin.host
        scheme = "https" if origin.tls else "http"
        where = await resolve_public(f"{scheme}://{named}:{origin.port}/", allow)
        return where.addresses[0]

    def made(self, connection: Connection) -> None:
        self._open.add(connection)

    def free(self, connection: Connection) -> None:
        self._idle.setdefault(connection.origin, []).append(connection)

    def gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        kept = self._idle.get(connection.origin)
        if kept and connection in kept:
            kept.remove(connection)
