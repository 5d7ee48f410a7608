"""Someone we can ask, over HTTP.

HttpProvider opens the connection, reads it and names what goes wrong; an adapter says only where
(`url`), as whom (`headers`) and what is odd about it (`adapt`). Every failure leaves here as an
UpstreamError; the socket is closed as soon as the caller stops reading.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Literal

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from chat.errors import BadRequest, Broken, Refused, Timeout, UpstreamError
from chat.events import Batch, StreamEvent
from chat.request import ChatRequest, Json
from dialects.base import OutboundDialect, Parser
from dialects.framing import Frame

MAX_BODY = 64 * 2**20
"""Bytes of a one-shot answer; more is a fault."""
MAX_ERROR_BODY = 64 * 2**10
DRAIN_S = 0.1
TRANSPORT = (aiohttp.ClientError, TimeoutError, OSError)
"""What the transport throws, to be named before it leaves."""
CHECK_S = 3.0
CHECK_TIMEOUT = aiohttp.ClientTimeout(total=CHECK_S, sock_connect=2)


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One row of the catalogue, with the environment applied."""

    name: str
    kind: str
    base_url: str
    key: str | None = field(default=None, repr=False)
    default_model: str | None = None
    models: tuple[str, ...] = ()
    check: str | None = None
    quirks: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that a provider has. `context` in tokens, where it says."""

    id: str
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What a cheap question to the upstream gave. `milliseconds` of the answer."""

    state: Literal["connected", "denied", "unreachable", "failing", "unchecked"]
    detail: str = ""
    milliseconds: float | None = None


class HttpProvider:
    """Streams, answers and models of one upstream account."""

    kind: ClassVar[str]

    def __init__(
        self,
        row: ProviderRow,
        dialect: OutboundDialect,
        session: aiohttp.ClientSession,
        *,
        idle_s: float = 60,
        one_shot_s: float = 600,
    ) -> None:
        self.row = row
        self.name = row.name
        self.dialect = dialect
        self._session = session
        self._base = row.base_url.rstrip("/")
        self._urls: dict[tuple[str, bool], URL] = {}
        self._headers = CIMultiDict(
            {
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream, application/x-ndjson",
                "Accept-Encoding": "identity",
                "User-Agent": "pointsman",
                **self.headers(),
            }
        )
        self._stream_timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=idle_s)
        # Not `total`: its timer context costs 8 µs of a request. `_bounded` keeps the time.
        self._one_shot_timeout = aiohttp.ClientTimeout(sock_connect=5, sock_read=one_shot_s)
        self._one_shot_s = one_shot_s

    # What an adapter may answer differently.

    def url(self, model: str, stream: bool) -> str:
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """With the key, as this upstream wants it."""
        return {"Authorization": f"Bearer {self.row.key}"} if self.row.key else {}

    def adapt(self, body: dict[str, Json], request: ChatRequest) -> dict[str, Json]:
        """Last changes to the body that the dialect built."""
        return body

    def model_infos(self, body: Json) -> list[ModelInfo]:
        """What the models question answered, as infos."""
        raise NotImplementedError

    def models_url(self) -> str:
        return self._base + "/models"

    # What the engine asks.

    async def stream(self, request: ChatRequest, model: str) -> AsyncGenerator[Batch, None]:
        """Events in batches, one for each read. Raises UpstreamError."""
        body = self.adapt(self.dialect.build_request(request, model), request)
        async with self._opened(model, True, _packed(body)) as response:
            if _is_json(response):
                yield self.dialect.parse_response(await _json_body(response, self._one_shot_s))
                return
            decoder = self.dialect.framing.decoder()
            parser = self.dialect.parser()
            read = response.content.readany
            while not parser.done and (chunk := await read()):
                batch, failure = _parsed(parser, decoder.feed(chunk))
                if batch:
                    yield batch
                if failure is not None:
                    raise failure
            if not parser.done:
                batch, failure = _parsed(parser, decoder.close())
                if batch:
                    yield batch
                if failure is not None:
                    raise failure
            last = parser.close()
            if last:
                yield last
            await _drained(response)

    async def whole(self, request: ChatRequest, model: str) -> Batch:
        """Events of one whole answer. Raises UpstreamError."""
        body = self.adapt(self.dialect.build_request(request, model), request)
        async with self._opened(model, False, _packed(body)) as response:
            return self.dialect.parse_response(await _json_body(response, self._one_shot_s))

    async def relay(
        self, body: dict[str, Json], model: str, stream: bool
    ) -> AsyncGenerator[Sequence[Frame], None]:
        """The upstream's own frames, untouched, a batch for each read. A body that is no stream
        comes as one frame. Raises UpstreamError."""
        async with self._opened(model, stream, _packed(body)) as response:
            if not stream or _is_json(response):
                yield (Frame(await _bounded(response, MAX_BODY, self._one_shot_s)),)
                return
            decoder = self.dialect.framing.decoder()
            read = response.content.readany
            while chunk := await read():
                frames = decoder.feed(chunk)
                if frames:
                    yield frames
            frames = decoder.close()
            if frames:
                yield frames

    async def relay_whole(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        """The upstream's own answer as it is. Raises UpstreamError."""
        async with self._opened(model, False, _packed(body)) as response:
            answer = await _json_body(response, self._one_shot_s)
        if not isinstance(answer, dict):
            raise Broken(f"{self.name} answered with what is no JSON object.", code="malformed")
        return answer

    async def models(self) -> Sequence[ModelInfo]:
        """Asks the upstream. Raises UpstreamError."""
        try:
            async with self._session.get(
                self.models_url(),
                headers=self._headers,
                timeout=CHECK_TIMEOUT,
                allow_redirects=False,
            ) as response:
                if response.status >= 400:
                    raise await self.refusal(response)
                return self.model_infos(await _json_body(response, CHECK_S))
        except TRANSPORT as fault:
            raise _named(fault, self.name) from None

    async def check(self) -> Health:
        """A cheap question with our key. Never raises UpstreamError: the answer is the health."""
        if self.row.check is None:
            return Health("unchecked")
        try:
            async with self._session.get(
                self._base + self.row.check,
                headers=self._headers,
                timeout=CHECK_TIMEOUT,
                allow_redirects=False,
            ) as response:
                if response.status in (401, 403):
                    return Health("denied", f"HTTP {response.status}: the key was refused")
                if response.status >= 400:
                    return Health("failing", f"HTTP {response.status}")
                return Health("connected")
        except TRANSPORT as fault:
            return Health("unreachable", _named(fault, self.name).message)

    def _opened(self, model: str, stream: bool, body: bytes) -> _Opened:
        url = self._urls.get((model, stream))
        if url is None:
            # Bounded, since a caller can name any model.
            if len(self._urls) > 1000:
                self._urls.clear()
            url = self._urls[model, stream] = URL(self.url(model, stream), encoded=True)
        return _Opened(self, url, body, self._stream_timeout if stream else self._one_shot_timeout)

    async def post(
        self, url: URL, body: bytes, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        return await self._session.post(
            url, data=body, headers=self._headers, timeout=limits, allow_redirects=False
        )

    async def refusal(self, response: aiohttp.ClientResponse) -> UpstreamError:
        """What an answer without status 200 says."""
        body = await _bounded(response, MAX_ERROR_BODY, CHECK_S, cut=True)
        if response.status < 400:
            return Broken(
                f"{self.name} answered HTTP {response.status}, which is no answer.",
                upstream_status=response.status,
                retryable=False,
            )
        headers = {name.lower(): value for name, value in response.headers.items()}
        return self.dialect.parse_error(response.status, headers, body)


class _Opened:
    """`async with`: an answer with status 200; anything else is raised as UpstreamError, also
    what the transport throws inside. A class and no generator, which would cost 4 µs more."""

    __slots__ = ("_body", "_provider", "_response", "_timeout", "_url")

    def __init__(
        self, provider: HttpProvider, url: URL, body: bytes, timeout: aiohttp.ClientTimeout
    ) -> None:
        self._provider = provider
        self._url = url
        self._body = body
        self._timeout = timeout
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            self._response = await self._provider.post(self._url, self._body, self._timeout)
            if self._response.status != 200:
                raise await self._provider.refusal(self._response)
        except BaseException as fault:
            self._let_go()
            if isinstance(fault, TRANSPORT):
                raise _named(fault, self._provider.name) from None
            raise
        return self._response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._let_go()
        if isinstance(fault, TRANSPORT):
            raise _named(fault, self._provider.name) from None

    def _let_go(self) -> None:
        """An answer that was read to its end went back to the pool; any other is closed."""
        response = self._response
        if response is not None and not response.closed:
            response.release() if response.content.at_eof() else response.close()


def _packed(body: dict[str, Json]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # Nested deeper than orjson writes, though it read it.
        raise BadRequest("The request is nested too deeply to be sent on.") from None


def _parsed(
    parser: Parser, frames: Sequence[Frame]
) -> tuple[list[StreamEvent], UpstreamError | None]:
    """Events of the frames, and the failure that ended them: what came before it is not lost."""
    batch: list[StreamEvent] = []
    try:
        for frame in frames:
            batch += parser.feed(frame)
    except UpstreamError as failure:
        return batch, failure
    return batch, None


async def _drained(response: aiohttp.ClientResponse) -> None:
    """Waits a moment for the end of the body behind the terminator, so that the connection can
    be used again. What comes there is not read."""
    if response.content.at_eof():
        return
    try:
        async with asyncio.timeout(DRAIN_S):
            await response.content.readany()
    except TRANSPORT:
        return


def _is_json(response: aiohttp.ClientResponse) -> bool:
    """A whole JSON body although a stream was asked."""
    return response.content_type == "application/json"


async def _bounded(
    response: aiohttp.ClientResponse, limit: int, seconds: float, *, cut: bool = False
) -> bytes:
    """The body, at most `limit` bytes (longer ones are cut, or raised as Broken), and not in
    drops: what takes longer than `seconds` is raised as TimeoutError."""
    ends = time.monotonic() + seconds
    parts: list[bytes] = []
    size = 0
    while chunk := await response.content.readany():
        size += len(chunk)
        parts.append(chunk)
        if size > limit:
            if cut:
                return b"".join(parts)[:limit]
            raise Broken(f"The upstream sent an answer of more than {limit} bytes.")
        if time.monotonic() > ends:
            raise TimeoutError
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _json_body(response: aiohttp.ClientResponse, seconds: float) -> Json:
    body = await _bounded(response, MAX_BODY, seconds)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        what = "an empty body" if not body.strip() else "what is not JSON"
        raise Broken(f"The upstream answered with {what}.", code="malformed") from None


def _named(fault: Exception, name: str) -> UpstreamError:
    """The transport's exceptions, by what the engine should do about them. The messages are our
    own: an exception's text may hold an address with a key in it."""
    if isinstance(fault, aiohttp.ClientConnectorDNSError):
        return Refused(f"{name}: its host name cannot be resolved.", code="dns")
    if isinstance(fault, aiohttp.ClientSSLError | ssl.SSLError):
        return Refused(f"{name}: no trusted TLS connection.", code="tls", retryable=False)
    if isinstance(fault, aiohttp.ConnectionTimeoutError):
        return Refused(f"{name}: no connection in time.", code="connect_timeout")
    if isinstance(fault, aiohttp.ClientConnectorError):
        return Refused(f"{name}: the connection was refused.", code="refused")
    if isinstance(fault, TimeoutError):
        return Timeout(f"{name} stayed silent for too long.", code="idle")
    if isinstance(fault, aiohttp.ServerDisconnectedError):
        return Refused(f"{name} closed the connection without an answer.", code="disconnected")
    if isinstance(fault, aiohttp.ClientPayloadError):
        return Broken(f"{name}'s answer was cut.", code="cut")
    if isinstance(fault, aiohttp.ClientResponseError):
        return Broken(f"{name} answered what is not HTTP.", code="malformed")
    if isinstance(fault, OSError):
        return Broken(f"{name}: the connection was lost.", code="reset")
    return Broken(f"{name}: the transport failed.", code="transport")
