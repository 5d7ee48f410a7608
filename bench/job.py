"""What a load generator is told to do, and what it says it saw."""

from dataclasses import dataclass, field
from typing import Literal

import orjson

from bench.prompts import LENGTH
from bench.script import MARK

Door = Literal["openai", "complete"]
"""`openai`: POST /v1/chat/completions; `complete`: the gateway's own POST /complete."""

PATHS: dict[Door, str] = {"openai": "/v1/chat/completions", "complete": "/complete"}

UNCLASSIFIED = b'"score":null'
"""Stands in an answer of /complete that was routed without the classifier's word."""


@dataclass(frozen=True)
class Job:
    """One run of load against one address."""

    port: int
    door: Door
    model: str
    """As the subject knows it; empty leaves it out, and the gateway chooses."""
    chunks: int
    """Marks that every answer must hold, in order."""
    requests: int
    stream: bool = False
    callers: int = 1
    """Connections. Each asks again when it has its answer, unless `rate` says when."""
    rate: float = 0.0
    """Requests a second on a fixed schedule, whatever the answers do; 0.0 is a closed loop."""
    ramp_s: float = 0.0
    """Callers start at random moments within this time, so that streams do not march in step."""
    warmup: int = 0
    """Requests sent and checked before the run."""
    seed: int = 0
    """Chooses the prompts and the moments of the ramp."""
    timeout_s: float = 120.0
    prompt_chars: int = LENGTH
    path: str = ""
    """Instead of the door's own path."""
    headers: str = ""
    """Further header lines, each with its CRLF."""

    def body(self, prompt: str) -> bytes:
        """The JSON that asks for one answer."""
        asked: dict[str, object] = {"model": self.model} if self.model else {}
        if self.door == "openai":
            asked["messages"] = [{"role": "user", "content": prompt}]
            if self.stream:
                asked["stream_options"] = {"include_usage": True}
        else:
            asked["message"] = prompt
        return orjson.dumps({**asked, "stream": self.stream})

    def request(self, prompt: str) -> bytes:
        """The same as a whole HTTP request."""
        body = self.body(prompt)
        head = (
            f"POST {self.path or PATHS[self.door]} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"{self.headers}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True)
class Seen:
    """The figures of one run; times in milliseconds unless the name says otherwise."""

    requests: int
    chunks: int
    body_bytes: int
    wall_s: float
    load_cpu_s: float
    latency_ms: list[float]
    """One a request, sorted. In an open loop from the scheduled moment, not from the sending."""
    late_ms: list[float]
    """Open loop only: how long after its moment each request left, sorted."""
    first_ms: list[float] = field(default_factory=list)
    """To the first bytes of the body, counted as `latency_ms` is, sorted."""


class WrongAnswerError(Exception):
    """An answer that does not say what the upstream said."""


def check(job: Job, status: int, body: bytes, failure: str) -> None:
    """Raise WrongAnswerError unless the answer is whole; cheap enough for every answer."""
    if failure:
        raise WrongAnswerError(f"{failure}; so far status {status}, {len(body)} bytes")
    if status != 200:
        raise WrongAnswerError(f"status {status}: {body[:300]!r}")
    marks = body.count(MARK)
    if marks != job.chunks:
        raise WrongAnswerError(f"{marks} chunks instead of {job.chunks}: {body[:300]!r}")
    if job.stream and not _is_ended(job.door, body):
        raise WrongAnswerError(f"the stream ends with {body[-80:]!r}")
    if not job.model and UNCLASSIFIED in body:
        raise WrongAnswerError(f"the classifier was not asked: {body[-400:]!r}")


def _is_ended(door: Door, body: bytes) -> bool:
    """Whether the stream's last event is the one that says that all went well."""
    last = body[body.rfind(b"data: ") :]
    if door == "openai":
        return last == b"data: [DONE]\n\n"
    return b'"done":true' in last and b'"finish_reason":"stop"' in last and last[-2:] == b"\n\n"


def check_closely(job: Job, body: bytes) -> None:
    """Raise WrongAnswerError unless all JSON parses and the marks stand in order."""
    if job.stream:
        events = [event for event in body.split(b"\n\n") if event.startswith(b"data: {")]
        if not events:
            raise WrongAnswerError(f"no event holds JSON: {body[:300]!r}")
    else:
        events = [b"data: " + body]
    for event in events:
        try:
            orjson.loads(event[len(b"data: ") :])
        except orjson.JSONDecodeError as wrong:
            raise WrongAnswerError(f"not JSON ({wrong}): {event[:300]!r}") from None
    at = 0
    for number in range(job.chunks):
        at = body.find(b"%b%04d" % (MARK, number), at)
        if at < 0:
            raise WrongAnswerError(f"chunk {number} is lost or out of order")
