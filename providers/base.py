"""Someone we can ask, over HTTP.

HttpProvider opens the connection, reads it and names what goes wrong; an adapter says only where
(`url`), as whom (`headers`) and what is odd about it (`adapt`). Every failure leaves here as an
UpstreamError; the socket is closed as soon as the caller stops reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Literal

import orjson

from chat.errors import BadRequest, Broken, Denied, Refused, Timeout, UpstreamError
from chat.events import Batch, StreamEvent
from chat.request import ChatRequest, Json
from dialects.base import OutboundDialect, Parser
from dialects.framing import Decoder, Frame
from providers import http1
from providers.bodies import MAX_BODY, bounded, drained, is_json, json_body, parsed
from providers.connection import FaultKind, Through
from providers.embeddings import EmbeddingRequest, Embeddings
from providers.model_info import ModelInfo
from providers.tap import Tap

MAX_ERROR_BODY = 64 * 2**10
CHECK_S = 3.0


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """One row of the catalogue, with the environment applied."""

    name: str
    kind: str
    base_url: str
    key: str | None = field(default=None, repr=False)
    default_model: str | None = None
    fallback_models: tuple[str, ...] = ()
    """Asked in this order when the default one fails, where only the provider is named."""
    models: tuple[str, ...] = ()
    check: str | None = None
    quirks: Mapping[str, Json] = field(default_factory=dict)
    prefill: str = ""
    """How it is told to go on with an assistant's last message: "assistant" by that alone,
    "flags" with vLLM's continue_final_message; "" where it begins a new one."""


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
        client: http1.Client,
        *,
        idle_s: float = 60,
        one_shot_s: float = 600,
    ) -> None:
        self.row = row
        self.name = row.name
        self.dialect = dialect
        self.client = client
        self._base = row.base_url.rstrip("/")
        self._urls: dict[tuple[str, bool], http1.Address] = {}
        self.head = _lines(
            {
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream, application/x-ndjson",
                "Accept-Encoding": "identity",
                "User-Agent": "pointsman",
                **self.headers(),
            }
        )
        self._idle_s = idle_s
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

    def wanting(self, body: dict[str, Json]) -> bytes:
        """Whole header lines that a relayed body has to come with."""
        return b""

    def continues(self, model: str) -> bool:
        """Whether it goes on where an assistant's last message stops, without a word between."""
        return bool(self.row.prefill)

    def model_infos(self, body: Json) -> list[ModelInfo]:
        """What the models question answered, as infos."""
        raise NotImplementedError

    def models_url(self) -> str:
        return self._base + "/models"

    async def embed(self, request: EmbeddingRequest, model: str) -> Embeddings:
        """Vectors, in the order of the inputs. Raises UpstreamError, or BadRequest where this
        upstream has no embeddings."""
        raise BadRequest(
            f"The provider {self.name!r} has no embeddings. Name a model of another one.",
            param="model",
            code="embeddings_unsupported",
        )

    # What the engine asks.

    async def stream(
        self, request: ChatRequest, model: str, tap: Tap[Batch] | None = None
    ) -> AsyncGenerator[Batch, None]:
        """Events in batches, one for each read. Raises UpstreamError."""
        body = self.adapt(self.dialect.build_request(request, model), request)
        async with self._opened(model, True, _packed(body)) as answer:
            if is_json(answer):
                yield self.dialect.parse_response(await json_body(answer, self._one_shot_s))
                return
            decoder = self.dialect.framing.decoder()
            parser = self.dialect.parser()
            if tap is not None:
                answer.lead(_parsing(answer, decoder, parser, tap))
            read = answer.read
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
            await drained(answer)

    async def whole(self, request: ChatRequest, model: str) -> Batch:
        """Events of one whole answer. Raises UpstreamError."""
        body = self.adapt(self.dialect.build_request(request, model), request)
        return self.dialect.parse_response(await self._answer_of(self._where(model, False), body))

    async def relay(
        self,
        body: dict[str, Json],
        model: str,
        stream: bool,
        tap: Tap[Sequence[Frame]] | None = None,
    ) -> AsyncGenerator[Sequence[Frame], None]:
        """The upstream's own frames, untouched, a batch for each read. A body that is no stream
        comes as one frame. Raises UpstreamError."""
        async with self._opened(model, stream, _packed(body), self.wanting(body)) as answer:
            if not stream or is_json(answer):
                yield (Frame(await bounded(answer, MAX_BODY, self._one_shot_s)),)
                return
            decoder = self.dialect.framing.decoder()
            if tap is not None:
                answer.lead(_framing(decoder, tap))
            read = answer.read
            while chunk := await read():
                frames = decoder.feed(chunk)
                if frames:
                    yield frames
            frames = decoder.close()
            if frames:
                yield frames

    async def relay_whole(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        """The upstream's own answer as it is. Raises UpstreamError."""
        where = self._where(model, False)
        return self._object(await self._answer_of(where, body, self.wanting(body)))

    async def asked(self, path: str, body: dict[str, Json]) -> dict[str, Json]:
        """A JSON question that is no chat, at `path` under the base. Raises UpstreamError."""
        return self._object(await self._answer_of(http1.address(self._base + path), body))

    async def _answer_of(
        self, where: http1.Address, body: dict[str, Json], more: bytes = b""
    ) -> Json:
        """What an answer that comes whole says. `Opened` is for those that are read in pieces; by
        it this would be two coroutines more. Raises UpstreamError."""
        limit, answer = self._one_shot_s, None
        try:
            head = self.head + more
            answer = await self.client.ask("POST", where, head, _packed(body), idle_s=limit)
            if answer.status != 200:
                raise await self.refusal(answer)
            said = answer.whole(MAX_BODY)
            return parsed(await bounded(answer, MAX_BODY, limit) if said is None else said)
        except http1.Fault as fault:
            raise _named(fault, self.name) from None
        finally:
            if answer is not None:
                answer.let_go()

    def _object(self, answer: Json) -> dict[str, Json]:
        if not isinstance(answer, dict):
            raise Broken(f"{self.name} answered with what is no JSON object.", code="malformed")
        return answer

    async def models(self) -> Sequence[ModelInfo]:
        """Asks the upstream. Raises UpstreamError."""
        async with self._looked(self.models_url()) as answer:
            return self.model_infos(await json_body(answer, CHECK_S))

    async def check(self) -> Health:
        """A cheap question with our key. Never raises UpstreamError: the answer is the health."""
        if self.row.check is None:
            return Health("unchecked")
        try:
            async with asyncio.timeout(CHECK_S), self._looked(self._base + self.row.check):
                return Health("connected")
        except (Refused, Timeout) as fault:
            return Health("unreachable", fault.message)
        except TimeoutError:
            return Health("unreachable", f"{self.name} gave no answer in {CHECK_S:.0f} s.")
        except Denied as refusal:
            return Health("denied", f"HTTP {refusal.upstream_status}: the key was refused")
        except UpstreamError as failure:
            return Health("failing", failure.message)

    def _looked(self, url: str) -> Opened:
        return Opened(self, "GET", http1.address(url), b"", CHECK_S)

    def _opened(self, model: str, stream: bool, body: bytes, more: bytes = b"") -> Opened:
        limit = self._idle_s if stream else self._one_shot_s
        return Opened(self, "POST", self._where(model, stream), body, limit, more)

    def _where(self, model: str, stream: bool) -> http1.Address:
        where = self._urls.get((model, stream))
        if where is None:
            # Bounded, since a caller can name any model.
            if len(self._urls) > 1000:
                self._urls.clear()
            where = self._urls[model, stream] = http1.address(self.url(model, stream))
        return where

    def scrub(self, error: UpstreamError) -> None:
        """Takes our key out of what the upstream said: some repeat it."""
        key = self.row.key
        if not key:
            return
        if key in error.message:
            error.message = error.message.replace(key, "[hidden]")
            error.args = (error.message,)
        if error.code is not None and key in error.code:
            error.code = None
        if error.param is not None and key in error.param:
            error.param = None

    async def refusal(self, answer: http1.Answer) -> UpstreamError:
        """What an answer without status 200 says."""
        body = await bounded(answer, MAX_ERROR_BODY, CHECK_S, cut=True)
        if answer.status < 400:
            return Broken(
                f"{self.name} answered HTTP {answer.status}, which is no answer.",
                upstream_status=answer.status,
                retryable=False,
            )
        return self.dialect.parse_error(answer.status, answer.headers(), body)


class Opened:
    """`async with`: an answer with status 200; anything else is raised as UpstreamError, also
    what the transport throws inside. A class and no generator, which would cost 4 µs more."""

    __slots__ = ("_answer", "_body", "_idle_s", "_method", "_more", "_provider", "_where")

    def __init__(
        self,
        provider: HttpProvider,
        method: Literal["GET", "POST"],
        where: http1.Address,
        body: bytes,
        idle_s: float,
        more: bytes = b"",
    ) -> None:
        self._provider = provider
        self._method: Literal["GET", "POST"] = method
        self._where = where
        self._body = body
        self._idle_s = idle_s
        self._more = more
        self._answer: http1.Answer | None = None

    async def __aenter__(self) -> http1.Answer:
        provider = self._provider
        try:
            headers = provider.head + self._more
            answer = await provider.client.ask(
                self._method, self._where, headers, self._body, idle_s=self._idle_s
            )
            self._answer = answer
            if answer.status != 200:
                raise await provider.refusal(answer)
        except http1.Fault as fault:
            self._let_go()
            raise _named(fault, provider.name) from None
        except BaseException:
            self._let_go()
            raise
        return answer

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._answer is not None:
            self._answer.let_go()
        if isinstance(fault, http1.Fault):
            raise _named(fault, self._provider.name) from None

    def _let_go(self) -> None:
        if self._answer is not None:
            self._answer.let_go()


def _packed(body: dict[str, Json]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # Nested deeper than orjson writes, though it read it.
        raise BadRequest("The request is nested too deeply to be sent on.") from None


def _framing(decoder: Decoder, tap: Tap[Sequence[Frame]]) -> Through:
    feed, take = decoder.feed, tap.take

    def through(chunk: bytes) -> bool:
        if not tap.ready():
            return False
        frames = feed(chunk)
        if frames:
            take(frames)
        return True

    return through


def _parsing(answer: http1.Answer, decoder: Decoder, parser: Parser, tap: Tap[Batch]) -> Through:
    feed, take = decoder.feed, tap.take

    def through(chunk: bytes) -> bool:
        if not tap.ready():
            return False
        batch, failure = _parsed(parser, feed(chunk))
        if batch:
            take(batch)
        if failure is not None:
            raise failure
        if parser.done:
            # What follows is not read.
            answer.enough()
        return True

    return through


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


def _lines(headers: Mapping[str, str]) -> bytes:
    """Headers as they go over the wire. Raises ValueError for what would break a line."""
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if text.count("\r") != len(headers) or text.count("\n") != len(headers):
        raise ValueError("a key must not hold a line break")
    return text.encode("latin-1")


WORDS: dict[FaultKind, str] = {
    "dns": "its host name cannot be resolved.",
    "tls": "no trusted TLS connection.",
    "connect_timeout": "no connection in time.",
    "refused": "the connection was refused.",
    "idle": "it stayed silent for too long.",
    "disconnected": "it closed the connection without an answer.",
    "cut": "its answer was cut.",
    "malformed": "it answered what is not HTTP.",
}


def _named(fault: http1.Fault, name: str) -> UpstreamError:
    """The transport's fault, by what the engine should do about it."""
    kind = fault.kind
    message = f"{name}: {WORDS[kind]}"
    if kind == "idle":
        return Timeout(message, code=kind)
    if kind in ("cut", "malformed"):
        return Broken(message, code=kind)
    return Refused(message, code=kind, retryable=kind != "tls")
