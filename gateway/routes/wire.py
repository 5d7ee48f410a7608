"""A WebSocket whose messages are JSON objects: its sign-in, its pings, its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from chat.errors import BadRequest, GatewayError, NotIdentified
from chat.request import Json
from dialects.complete import error_object
from gateway.accounts.identity import UNNAMED
from gateway.engine.ports import Caller
from gateway.middleware import CALLER
from gateway.routes.answers import error_fields
from gateway.routes.outgoing import prepare
from gateway.services import Services
from gateway.version import VERSION

PING_S = 20.0
SIGN_IN_S = 10.0
CLOSING_S = 1.0
NOT_JSON, NOT_SIGNED_IN, TOO_LATE = 4400, 4401, 4408


class Closed(Exception):
    """The connection ends with this code."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class Wires:
    """The sockets that are open, and whether the gateway stops."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    open: int = 0


WIRES = web.AppKey("wires", Wires)


class Wire:
    """One connection. Sending waits for the reader, for `write_s` at the most."""

    def __init__(self, request: web.Request, services: Services, wires: Wires) -> None:
        self.services = services
        self.request = request
        self.stopping = wires.stopping
        self.caller: Caller = request[CALLER]
        self._token: str | None = None
        self._heard = True
        # Its own heartbeat would cut whoever is served while the gateway stops, as aiohttp reads
        # nothing more then, pongs included; nor would anybody answer the last handshake.
        self.socket = web.WebSocketResponse(
            autoping=False,
            timeout=CLOSING_S,
            max_msg_size=services.settings.web.message_bytes,
            compress=False,
        )

    async def open(self) -> web.WebSocketResponse:
        """The upgrade, and the sign-in. Raises BadRequest, Closed."""
        if not self.socket.can_prepare(self.request):
            raise BadRequest("This path speaks WebSocket: send an upgrade.", code="upgrade")
        await prepare(self.request, self.socket)
        if self.caller.id in UNNAMED:
            await self._sign_in()
        web_settings = self.services.settings.web
        await self.send(
            {
                "type": "ready",
                "version": VERSION,
                "caller": {
                    "id": self.caller.id,
                    "name": self.caller.name,
                    "admin": self.caller.admin,
                },
                "limits": {
                    "message_bytes": web_settings.message_bytes,
                    "running": web_settings.running,
                    "kept_s": web_settings.kept_s,
                    "ping_s": PING_S,
                },
            }
        )
        return self.socket

    async def send(self, message: Mapping[str, Json]) -> None:
        """Raises Closed when the connection is gone, or takes nothing."""
        limit = self.services.settings.attempts.write_s
        transport = self.request.transport
        timer = asyncio.get_running_loop().call_later(limit, transport.abort) if transport else None
        try:
            await self.socket.send_str(orjson.dumps(message).decode())
        except (ConnectionError, RuntimeError):
            raise Closed(WSCloseCode.ABNORMAL_CLOSURE) from None
        finally:
            if timer is not None:
                timer.cancel()

    async def messages(self) -> AsyncIterator[dict[str, Json]]:
        """What the client says, pings answered. Ends with the connection. Raises Closed."""
        while True:
            received = await self.socket.receive()
            self._heard = True
            if received.type is WSMsgType.PING:
                await self.socket.pong(received.data)
            if received.type in (WSMsgType.PING, WSMsgType.PONG):
                continue
            if received.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            message = _object(received)
            kind = message.get("type")
            if kind == "ping":
                await self.send({"type": "pong"})
            elif kind != "pong":
                yield message

    async def ping(self) -> None:
        """Until somebody does not answer. Raises Closed."""
        while True:
            self._heard = False
            with contextlib.suppress(ConnectionError):
                await self.socket.ping()
            await asyncio.sleep(PING_S)
            if not self._heard and not self.stopping.is_set():
                if self.request.transport is not None:
                    self.request.transport.abort()
                raise Closed(WSCloseCode.ABNORMAL_CLOSURE)

    async def close(self, closed: Closed) -> None:
        """Says why, where there is something to say."""
        try:
            if closed.message:
                await self.send({"type": "error", **told(_as_error(closed))})
            await self.socket.close(code=closed.code, message=closed.message.encode()[:120])
        except Closed:
            return

    async def identify(self) -> Caller:
        """Who it is now: a code may have been revoked since. Raises NotIdentified."""
        if self._token is None:
            return self.caller
        return await self._known(self._token)

    async def _sign_in(self) -> None:
        try:
            async with asyncio.timeout(SIGN_IN_S):
                hello = await anext(aiter(self.messages()), None)
        except TimeoutError:
            raise Closed(TOO_LATE, "Nobody signed in.") from None
        if hello is None:
            raise Closed(WSCloseCode.OK)
        token = hello.get("token")
        if hello.get("type") != "hello" or not isinstance(token, str | None):
            raise Closed(
                NOT_SIGNED_IN, 'The first message must be {"type": "hello", "token": ...}.'
            )
        try:
            self.caller = await self._known(token or "")
        except GatewayError as error:
            raise Closed(NOT_SIGNED_IN, error.message) from None
        self._token = token or ""

    async def _known(self, token: str) -> Caller:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        caller = self.services.identity.identify(headers)
        if token and caller.id in UNNAMED:
            raise NotIdentified("Nobody has this token.")
        return caller


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Until one of them ends; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def told(error: GatewayError) -> dict[str, Json]:
    """The fields of an `error` message."""
    return error_fields(error_object(error))


def _object(received: WSMessage) -> dict[str, Json]:
    try:
        message = orjson.loads(received.data)
    except orjson.JSONDecodeError:
        raise Closed(NOT_JSON, "A message must be a JSON object.") from None
    if not isinstance(message, dict):
        raise Closed(NOT_JSON, "A message must be a JSON object.")
    return message


def _as_error(closed: Closed) -> GatewayError:
    if closed.code in (NOT_SIGNED_IN, TOO_LATE):
        return NotIdentified(closed.message)
    return BadRequest(closed.message)
