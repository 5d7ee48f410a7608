"""Between an upstream and a caller: their frames relayed, or their events translated.

Each function makes one attempt. Bytes come in the caller's dialect, whole frames, one piece for
each read of the upstream; a stream that ends without its finish is raised as cut.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TypeGuard, TypeVar

from chat.errors import Broken, UpstreamError
from chat.events import UNCOUNTED, Batch, Finish, Start, Usage
from chat.fold import Folder, fold
from chat.request import Json
from chat.trace import Trace
from dialects.base import InboundDialect, Now, OutboundDialect, Parser, RelayDialect, Renderer
from dialects.framing import Frame
from gateway.engine import structured
from gateway.engine.ports import Asked, Progress, Provider, Sink
from gateway.engine.story import Story
from providers.tap import Tap

T = TypeVar("T")

PING = b"ping"
OPENINGS = (PING, b"message_start", b"content_block_start", b"error")
NO_CHOICE = b'"choices":[]'


def relays(asked: Asked, provider: Provider, model: str) -> bool:
    """Both ends speak one language, so frames may pass as they are; but not where an answer has
    to be checked before it passes."""
    dialect = provider.dialect
    return (
        _can_relay(dialect)
        and dialect.name == asked.dialect.name
        and (asked.request.response_format is None or dialect.enforces(asked.request, model))
    )


def told(asked: Asked, model: str) -> str:
    """The model's name in the answer. Ollama's clients get back the one that they wrote, as Ollama
    does it; all others are told who answered."""
    return asked.request.model if asked.dialect.name == "ollama" else model


def _can_relay(dialect: InboundDialect | OutboundDialect) -> TypeGuard[RelayDialect]:
    return hasattr(dialect, "relay_body")


async def relayed(
    asked: Asked, provider: Provider, model: str, progress: Progress, sink: Sink | None = None
) -> AsyncGenerator[bytes, None]:
    """The upstream's own frames; usage that nobody asked for is hidden, the model renamed.

    Frames that only open an answer wait for the first one that says something: a role that comes
    at once is no first token. What comes behind that goes to `sink` while it is ready for it, and
    is yielded otherwise.
    """
    dialect = provider.dialect
    assert _can_relay(dialect)
    watch = dialect.watch(asked.body, told(asked, model))
    encode = asked.dialect.framing.encode

    def passing(frames: Sequence[Frame]) -> bytes:
        passed = watch.feed(frames)
        progress.usage = watch.usage
        if frames[0].event != PING or len(frames) > 1:
            progress.seen += 1
        if len(passed) == 1:
            return encode(passed[0])
        return b"".join([encode(frame) for frame in passed])

    tap = _tap(passing, sink)
    batches = provider.relay(dialect.relay_body(asked.body, model), model, True, tap)
    opening: Parser | None = dialect.parser()
    held = b""
    try:
        async for frames in batches:
            piece = passing(frames)
            if not piece:
                continue
            if opening is not None:
                held += piece
                if not _says(opening, frames):
                    continue
                piece, opening = held, None
                if tap is not None:
                    tap.open()
            yield piece
    finally:
        await batches.aclose()
    last = watch.close()
    progress.usage = watch.usage
    rest = b"".join([encode(frame) for frame in last])
    if opening is not None:
        rest = held + rest
    if rest:
        yield rest


def _tap(piece_of: Callable[[T], bytes], sink: Sink | None) -> Tap[T] | None:
    """What writes to `sink` at once; its owner opens it."""
    if sink is None:
        return None
    put = sink.put

    def take(item: T) -> None:
        piece = piece_of(item)
        if piece:
            put(piece)

    return Tap(take, sink.ready)


def _says(parser: Parser, frames: Sequence[Frame]) -> bool:
    """More than that an answer begins. Only what looks like an opening is parsed for it."""
    try:
        for frame in frames:
            data = frame.data
            if frame.event not in OPENINGS and b'"role"' not in data and NO_CHOICE not in data:
                return True
            for event in parser.feed(frame):
                if type(event) is not Start and type(event) is not Usage:
                    return True
    except UpstreamError:
        # The watch raises it, too, when its turn comes.
        return False
    return False


async def relayed_whole(
    asked: Asked, provider: Provider, model: str, progress: Progress, trace: Trace
) -> Json:
    """The upstream's own body, looked through for errors and usage, with the model renamed."""
    dialect: RelayDialect = provider.dialect  # type: ignore[assignment]
    body = await provider.relay_whole(dialect.relay_body(asked.body, model), model)
    progress.usage, finished = dialect.usage_in(body)
    if not finished:
        raise Broken("The upstream's answer ended before it was finished.", code="cut")
    form = asked.request.response_format
    if form is not None and (form := structured.wanted(asked.request)) is not None:
        structured.check_relayed(fold(dialect.parse_response(body)), form, trace)
    for field in ("model", "modelVersion"):
        if field in body:
            body[field] = told(asked, model)
    return body


async def translated(
    asked: Asked,
    provider: Provider,
    model: str,
    renderer: Renderer,
    closing: Callable[[], Trace],
    progress: Progress,
    story: Story | None = None,
    sink: Sink | None = None,
) -> AsyncGenerator[bytes, None]:
    """Events -> the caller's frames. `closing` gives the trace for the last ones. Frames that
    only open an answer wait for the first one that says something; what comes behind it goes to
    `sink` while it is ready for it. `story` keeps what was told."""
    usage = UNCOUNTED
    finished = False

    def written(batch: Batch) -> bytes:
        nonlocal usage, finished
        progress.seen += 1
        for event in batch:
            # Most events are neither; a comparison of types is the cheapest way to say so.
            if type(event) is Usage:
                usage = usage.merged(event)
                progress.usage = usage
            elif type(event) is Finish:
                finished = True
        if story is not None:
            story.add(batch)
        return renderer.feed(batch)

    opening = True
    held = b""
    tap = _tap(written, sink)
    batches = provider.stream(asked.request, model, tap)
    try:
        async for batch in batches:
            piece = written(batch)
            if opening:
                held += piece
                for event in batch:
                    if type(event) is not Start and type(event) is not Usage:
                        break
                else:
                    continue
                opening = False
                piece = held
            if piece:
                # Only now: what renders to nothing commits nobody, and another may be asked yet.
                if tap is not None:
                    tap.open()
                yield piece
    finally:
        await batches.aclose()
    if not finished:
        raise Broken("The upstream's answer ended before it was finished.", code="cut")
    yield renderer.close(closing())


async def translated_whole(
    asked: Asked,
    provider: Provider,
    model: str,
    closing: Callable[[], Trace],
    progress: Progress,
    trace: Trace,
    now: Now,
) -> Json:
    """Events -> one body."""
    if structured.wanted(asked.request) is not None:
        answer = await structured.whole(asked.request, provider, model, progress, trace)
    else:
        folder = Folder()
        events: Batch = await provider.whole(asked.request, model)
        folder.feed(events)
        progress.usage = folder.usage
        answer = folder.response()
    return asked.dialect.render_response(asked.request, answer, closing(), now)
