"""The faults of an upstream, what each looks like on the wire, and its one true outcome."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.faults.language import JSON, SSE, Language
from tests.faults.upstream import END, Endless, Play, Step, answer, chunk, chunked, head, opening

BIG = 10 * 2**20
NONSENSE = b"data: {nonsense\n\n"
TEXT = "Naïve 漢字 🙂 "


@dataclass(frozen=True)
class Finished:
    """The answer is whole: its text and its finish reason."""

    text: str = TEXT
    reason: str = "stop"


@dataclass(frozen=True)
class Unseen:
    """Failed before the first event: another target may answer. Alone it is an HTTP error.

    `attempts`: how often the target is asked, `kind` what the attempt is counted as.
    """

    status: int
    kind: str
    attempts: int = 1
    fallback: bool = True
    """False: the request itself is wrong, so nobody else is asked."""
    waited: bool = False
    """With nobody else to ask, the short wait that it asked for is waited."""

    @property
    def alone(self) -> int:
        return self.attempts + self.waited


@dataclass(frozen=True)
class Seen:
    """Failed after the first event: told in-band, behind the text that came."""

    kind: str
    text: str = TEXT


@dataclass(frozen=True)
class Left:
    """It goes on until the caller leaves."""


Outcome = Finished | Unseen | Seen | Left


@dataclass(frozen=True)
class Fault:
    """`stream` and `whole`: the bytes for each kind of question; None where there is no such
    thing. `address`: "{url}" of the upstream, or where nobody is."""

    name: str
    stream: Callable[[Language], Play] | None
    streamed: Outcome
    whole: Callable[[Language], Play] | None
    answered: Outcome
    address: str = "{url}"
    reaches: bool = True
    """False: the upstream never sees a request."""


BROKEN = Unseen(502, "upstream_error", attempts=2)
ONCE = Unseen(502, "upstream_error")
SILENT = Unseen(504, "timeout")
REFUSED = Unseen(502, "upstream_refused", attempts=2)


def said(language: Language, text: str = TEXT) -> bytes:
    """The beginning of a stream."""
    return language.start() + language.text(text)


def streamed(language: Language, text: str = TEXT, reason: str = "stop") -> bytes:
    return said(language, text) + language.finish(reason) + language.terminator


def of_both(name: str, play: Play, outcome: Outcome, **more: object) -> Fault:
    """The same bytes for a stream and for a whole answer."""
    return Fault(name, lambda _: play, outcome, lambda _: play, outcome, **more)  # type: ignore[arg-type]


def of_status(status: int, outcome: Outcome, *lines: str, name: str = "") -> Fault:
    def play(language: Language) -> Play:
        return [answer(language.error_body(), JSON, status, *lines)]

    return Fault(name or str(status), play, outcome, play, outcome)


def of_stream(
    name: str,
    stream: Callable[[Language], Play],
    outcome: Outcome,
    whole: Callable[[Language], Play] | None = None,
    answered: Outcome = BROKEN,
) -> Fault:
    return Fault(name, stream, outcome, whole, answered)


def begun(*after: bytes | float | Step | Endless) -> Callable[[Language], Play]:
    """A stream that says something, and then this."""
    return lambda language: [opening(SSE) + chunk(said(language)), *after]


def half(*after: bytes | float | Step) -> Callable[[Language], Play]:
    """Half of a whole answer, and then this."""

    def play(language: Language) -> Play:
        whole = answer(language.body(TEXT), JSON)
        return [whole[: -len(language.body(TEXT)) // 2], *after]

    return play


def inside_a_character(language: Language) -> Play:
    raw = language.text(TEXT)
    at = raw.index("🙂".encode()) + 2
    return [opening(SSE) + chunk(said(language)) + chunk(raw[:at]), Step.CLOSE]


def body_inside_a_character(language: Language) -> Play:
    body = language.body(TEXT)
    return [answer(body, JSON)[: body.index("🙂".encode()) + 2 - len(body)], Step.CLOSE]


LIMITED = Unseen(429, "rate_limited")
DENIED = Unseen(502, "upstream_auth")

CONNECTING = (
    of_both("connection refused", [], REFUSED, address="http://127.0.0.1:1", reaches=False),
    of_both("DNS failure", [], REFUSED, address="http://no-such-host.invalid", reaches=False),
    of_both(
        "TLS failure",
        [],
        Unseen(502, "upstream_refused"),
        address="https://127.0.0.1:{tls}",
        reaches=False,
    ),
    of_both("accept and never answer", [Step.STALL], SILENT),
    of_both("closed without an answer", [Step.CLOSE], REFUSED),
    of_both("reset without an answer", [Step.RESET], REFUSED),
    of_both("what is not HTTP", [b"SSH-2.0-OpenSSH_9.2\r\n", Step.CLOSE], BROKEN),
    Fault(
        "headers and then silence",
        lambda _: [opening(SSE), Step.STALL],
        SILENT,
        lambda _: [head(200, JSON, "Content-Length: 99"), Step.STALL],
        SILENT,
    ),
)

STATUSES = (
    of_status(400, Unseen(400, "bad_request", fallback=False)),
    of_status(401, DENIED),
    of_status(403, DENIED),
    of_status(404, Unseen(404, "bad_request")),
    of_status(408, Unseen(504, "timeout", attempts=2)),
    of_status(409, Unseen(409, "bad_request", fallback=False)),
    of_status(429, LIMITED, name="429 without Retry-After"),
    *(
        of_status(429, LIMITED, line, name=f"429, {line}")
        for line in (
            "Retry-After: 7",
            "Retry-After: Sat, 21 Nov 2037 07:00:00 GMT",
            "Retry-After: Sat, 21 Nov 1998 07:00:00 GMT",
            "Retry-After: 99999999999999999999",
            "Retry-After: -5",
            "Retry-After: Infinity",
            "Retry-After: soon",
        )
    ),
    *(
        of_status(429, replace(LIMITED, waited=True), line, name=f"429, {line}")
        for line in ("Retry-After: 0.1", "retry-after-ms: 150")
    ),
    *(of_status(status, BROKEN) for status in (500, 502, 503, 529)),
    of_status(503, BROKEN, "Retry-After: 0", name="503, Retry-After: 0"),
    of_status(503, ONCE, "Retry-After: 3600", name="503, Retry-After: 3600"),
    of_both("a redirect", [answer(b"", "text/plain", 302, "Location: http://127.0.0.1:1/")], ONCE),
)

ODD_ANSWERS = (
    of_both("HTML with 200", [answer(b"<html>oops</html>", "text/html")], BROKEN),
    Fault(
        "JSON error with 200",
        lambda language: [answer(language.error_body(), JSON)],
        BROKEN,
        lambda language: [answer(language.error_body(), JSON)],
        BROKEN,
    ),
    of_stream("an error event first", lambda wire: [chunked(wire.error(), SSE)], BROKEN),
    of_stream("empty 200", lambda _: [chunked(b"", SSE)], BROKEN, lambda _: [answer(b"", JSON)]),
    Fault(
        "slow first byte",
        lambda language: [20.0, chunked(streamed(language), SSE)],
        SILENT,
        lambda language: [20.0, answer(language.body(TEXT), JSON)],
        SILENT,
    ),
    of_stream(
        "only comments and pings",
        lambda wire: [opening(SSE), Endless(chunk(wire.ping()), 0.05)],
        SILENT,
    ),
    of_stream(
        "a role, then silence",
        lambda wire: [opening(SSE) + chunk(wire.start()), Step.STALL],
        SILENT,
    ),
    of_stream(
        "a role, then a cut", lambda wire: [opening(SSE) + chunk(wire.start()), Step.CLOSE], BROKEN
    ),
    Fault(
        "wrong content type",
        lambda language: [chunked(streamed(language), "text/plain")],
        Finished(),
        lambda language: [answer(language.body(TEXT), "text/html")],
        Finished(),
    ),
    of_stream(
        "a stream called JSON",
        lambda language: [chunked(streamed(language), JSON)],
        BROKEN,
        lambda language: [chunked(streamed(language), JSON)],
    ),
    Fault(
        "a whole answer where a stream was asked",
        lambda language: [answer(language.body(TEXT), JSON)],
        Finished(),
        None,
        Finished(),
    ),
    Fault(
        "gzip when not asked",
        lambda wire: [chunked(gzip.compress(streamed(wire)), SSE, "Content-Encoding: gzip")],
        Finished(),
        lambda wire: [answer(gzip.compress(wire.body(TEXT)), JSON, 200, "Content-Encoding: gzip")],
        Finished(),
    ),
)

IN_THE_MIDDLE = (
    of_stream("stall mid-stream", begun(Step.STALL), Seen("timeout"), half(Step.STALL), SILENT),
    of_stream(
        "nothing but comments and pings after the first event",
        lambda wire: [opening(SSE) + chunk(said(wire)), Endless(chunk(wire.ping()), 0.05)],
        Seen("timeout"),
    ),
    of_stream("cut cleanly", begun(END), Seen("upstream_error"), half(Step.CLOSE)),
    of_stream("cut without the last chunk", begun(Step.CLOSE), Seen("upstream_error")),
    of_stream("cut by reset", begun(Step.RESET), Seen("upstream_error"), half(Step.RESET)),
    of_stream(
        "cut inside a frame",
        lambda wire: [opening(SSE) + chunk(said(wire)) + chunk(wire.text("never")[:-9]) + END],
        Seen("upstream_error"),
    ),
    of_stream(
        "cut inside a character",
        inside_a_character,
        Seen("upstream_error"),
        body_inside_a_character,
    ),
    of_stream(
        "an error event after text",
        lambda wire: [chunked(said(wire) + wire.error(), SSE)],
        Seen("upstream_error"),
    ),
    of_stream(
        "a garbage line",
        lambda wire: [
            chunked(said(wire) + b"data: {nonsense\n\n" + wire.finish() + wire.terminator, SSE)
        ],
        Seen("upstream_error"),
        lambda _: [answer(b"{nonsense", JSON)],
    ),
    Fault(
        "wrong content length: more than comes",
        lambda wire: [head(200, SSE, "Content-Length: 99999") + said(wire), Step.CLOSE],
        Seen("upstream_error"),
        lambda wire: [head(200, JSON, "Content-Length: 99999") + wire.body(TEXT), Step.CLOSE],
        BROKEN,
    ),
    Fault(
        "wrong content length: less than comes",
        lambda wire: [head(200, SSE, f"Content-Length: {len(said(wire))}") + streamed(wire)],
        Seen("upstream_error"),
        lambda wire: [head(200, JSON, "Content-Length: 30") + wire.body(TEXT)],
        BROKEN,
    ),
)

ENDINGS = (
    of_stream(
        "missing terminator",
        lambda wire: [chunked(said(wire) + wire.finish(), SSE)],
        Finished(),
    ),
    Fault(
        "one event of 10 MB",
        lambda wire: [chunked(streamed(wire, "x" * BIG), SSE)],
        Finished("x" * BIG),
        lambda wire: [answer(wire.body("x" * BIG), JSON)],
        Finished("x" * BIG),
    ),
    of_stream(
        "events after the end",
        lambda wire: [chunked(streamed(wire) + wire.text("never"), SSE)],
        Finished(),
    ),
    of_stream(
        "duplicated finish",
        lambda wire: [chunked(said(wire) + wire.finish() + wire.finish() + wire.terminator, SSE)],
        Finished(),
    ),
    Fault(
        "content-filter refusal",
        lambda wire: [chunked(streamed(wire, TEXT, "content_filter"), SSE)],
        Finished(reason="content_filter"),
        lambda wire: [answer(wire.body(TEXT, "content_filter"), JSON)],
        Finished(reason="content_filter"),
    ),
    Fault(
        "empty completion",
        lambda wire: [chunked(wire.start() + wire.finish() + wire.terminator, SSE)],
        Finished(""),
        lambda wire: [answer(wire.body(""), JSON)],
        Finished(""),
    ),
    of_stream(
        "endless stream",
        lambda wire: [opening(SSE) + chunk(said(wire)), Endless(chunk(wire.text("more ")), 0.005)],
        Left(),
        lambda wire: [opening(JSON), Endless(chunk(b" " * 2**20))],
        BROKEN,
    ),
)

FAULTS: tuple[Fault, ...] = (*CONNECTING, *STATUSES, *ODD_ANSWERS, *IN_THE_MIDDLE, *ENDINGS)
