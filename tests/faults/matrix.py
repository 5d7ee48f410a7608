"""One fault, asked at one door, alone or with a healthy target behind it: what came of it.

`run` asserts everything that must hold whatever the fault was, and returns the outcome in words.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import orjson
from prometheus_client.samples import Sample

from tests.faults.cases import SILENT, Fault, Finished, Left, Outcome, Seen, Unseen, streamed
from tests.faults.language import JSON, SSE, Door
from tests.faults.upstream import RawUpstream, answer, chunked, upstream
from tests.replay.gateway import Running, running, settings

GOOD = "good"
SHORT_S = 0.6
"""A limit that is met; long enough for a healthy answer on a busy machine."""
LONG_S = 15.0
"""One that is not."""
HEDGE_MS = 150
ENOUGH = 2000
"""Bytes after which the caller of an endless stream leaves."""


@dataclass(frozen=True)
class Heard:
    """What the caller got."""

    status: int
    text: str
    finishes: tuple[str, ...]
    """Every finish reason that he was told."""
    error: str | None
    """kind of the error, in words of ours or of the dialect."""
    retry_after: str | None
    raw: bytes
    left: bool = False


Route = Literal["alone", "fallback", "resume", "hedge"]
"""What stands behind the broken target: nobody; a healthy one; one that goes on with the text; one
that is asked beside it."""


async def run(fault: Fault, door: Door, *, stream: bool, route: Route) -> str:
    """Asks once; the outcome in a few words. AssertionError when something does not hold."""
    files, tasks = _files(), len(asyncio.all_tasks())
    outcome = fault.streamed if stream else fault.answered
    async with _parts(fault, door, outcome, route) as (gateway, bad, good):
        heard = await _asked(gateway, door, stream=stream, leave=isinstance(outcome, Left))
        if route == "resume":
            word = _went_on(heard, outcome, door)
        elif route == "hedge":
            word = _hedged(heard)
        else:
            word = _judged(heard, outcome, stream=stream, fallback=route != "alone", door=door)
        await _settled(gateway, bad)
        _counted(gateway, fault, outcome, bad, good, heard, route)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == tasks, asyncio.all_tasks()
    assert _files() == files
    return word


def applies(fault: Fault, *, stream: bool, route: Route) -> bool:
    """Going on is for what broke off, a hedge for who says nothing."""
    if (fault.stream if stream else fault.whole) is None:
        return False
    outcome = fault.streamed if stream else fault.answered
    if route == "resume":
        return isinstance(outcome, Seen)
    return route != "hedge" or outcome == SILENT


@asynccontextmanager
async def _parts(
    fault: Fault, door: Door, outcome: Outcome, route: Route
) -> AsyncGenerator[tuple[Running, RawUpstream, RawUpstream], None]:
    wire = door.upstream
    async with AsyncExitStack() as stack:
        bad = await stack.enter_async_context(
            upstream(
                fault.stream(wire) if fault.stream else [], fault.whole(wire) if fault.whole else []
            )
        )
        good = await stack.enter_async_context(
            upstream([chunked(streamed(wire, GOOD), SSE)], [answer(wire.body(GOOD), JSON)])
        )
        address = fault.address.format(url=bad.url, tls=bad.tls_port)
        base = "/v1" if wire.kind == "openai" else ""
        # Nobody is looked at beside the service: every connection here is the caller's.
        row: dict[str, Any] = {"kind": wire.kind, "api_key": "sk-fault", "check": None}
        given = settings(
            providers={
                "hard": row | {"base_url": address + base, "models": ["m"]},
                "easy": row | {"base_url": good.url + base, "models": ["m"]},
            },
            attempts=_limits(outcome, route),
            models={"easy/m": {"prefill": True}},
            routes={
                "auto": {
                    "local": [] if route == "alone" else ["easy/m"],
                    "strong": ["hard/m"],
                    "resume": route == "resume",
                    "hedge_after_ms": HEDGE_MS if route == "hedge" else None,
                }
            },
        )
        gateway = await stack.enter_async_context(running(given))
        yield gateway, bad, good


def _limits(outcome: Outcome, route: Route) -> dict[str, float]:
    """Only the limit that the fault runs into is short."""
    first = SHORT_S if outcome == SILENT and route != "hedge" else LONG_S
    idle = SHORT_S if outcome == Seen("timeout") else LONG_S
    limits = {"first_event_s": first, "idle_s": idle, "one_shot_s": first, "total_s": 20}
    return limits | {"backoff_ms": 1, "commit_after_s": LONG_S}


async def _asked(gateway: Running, door: Door, *, stream: bool, leave: bool) -> Heard:
    body: dict[str, Any] = {"model": "auto", "stream": stream}
    if door.name == "complete":
        body["message"] = "Hi"
    else:
        body["messages"] = [{"role": "user", "content": "Hi"}]
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession(read_bufsize=2**24) as session,
        session.post(gateway.url + door.path, json=body) as response,
    ):
        raw = b""
        async for piece in response.content.iter_any():
            raw += piece
            if leave and len(raw) > ENOUGH:
                response.close()
                break
        return _heard(response, raw, left=leave)


def _heard(response: aiohttp.ClientResponse, raw: bytes, *, left: bool) -> Heard:
    retry_after = response.headers.get("Retry-After")
    if response.content_type == SSE:
        lines = raw.split(b"\n")
        events = [
            orjson.loads(line[6:])
            for line in (lines[:-1] if left else lines)
            if line.startswith(b"data: ") and line != b"data: [DONE]"
        ]
        if not left:
            assert raw.endswith(b"\n\n"), "the last frame is whole"
    else:
        events = [orjson.loads(raw)]
    texts, finishes, error = [], [], None
    for event in events:
        if "error" in event:
            error = event["error"]["type"]
        if "message" in event:
            texts.append(event["message"])
            if "finish_reason" in event:
                finishes.append(event["finish_reason"])
        for choice in event.get("choices", ()):
            said = choice.get("delta") or choice.get("message") or {}
            texts.append(said.get("content") or "")
            if choice["finish_reason"] is not None:
                finishes.append(choice["finish_reason"])
    if b"[DONE]" in raw:
        assert finishes, "[DONE] without a finish reason"
    return Heard(
        response.status, "".join(texts), tuple(finishes), error, retry_after, raw, left=left
    )


def _judged(heard: Heard, outcome: Outcome, *, stream: bool, fallback: bool, door: Door) -> str:
    """Holds what the caller got against the one true outcome."""
    if isinstance(outcome, Left):
        assert heard.status == 200
        assert not heard.finishes
        assert heard.error is None
        return "cancelled when the caller leaves"
    if isinstance(outcome, Finished) or (
        isinstance(outcome, Unseen) and fallback and outcome.fallback
    ):
        expected = outcome if isinstance(outcome, Finished) else Finished(GOOD)
        assert heard.status == 200, heard.raw[:500]
        assert heard.error is None, heard.raw[-500:]
        assert heard.text == expected.text
        wanted = expected.reason
        # What an upstream told twice may pass twice where frames are relayed, and never differs.
        assert set(heard.finishes) == {wanted}, heard.finishes
        assert len(heard.finishes) == 1 or door.name == "relayed"
        return f"finished ({wanted})" if isinstance(outcome, Finished) else "the fallback answers"
    assert not heard.finishes, "presented as finished"
    assert heard.error is not None, heard.raw
    if isinstance(outcome, Seen):
        assert stream
        assert heard.status == 200
        assert heard.text == outcome.text
        return f"failed in-band: {outcome.kind}"
    assert heard.status == outcome.status, heard.raw
    if heard.retry_after is not None:
        assert 1 <= int(heard.retry_after) <= 60
    return f"failed: {outcome.status} {outcome.kind}"


def _went_on(heard: Heard, outcome: Outcome, door: Door) -> str:
    """The text that came, and behind it what the next target said."""
    assert isinstance(outcome, Seen)
    assert heard.status == 200
    assert heard.error is None, heard.raw[-500:]
    assert heard.text == outcome.text + GOOD
    assert heard.finishes == ("stop",)
    assert b"resumed_from" in heard.raw
    return "the next target goes on"


def _hedged(heard: Heard) -> str:
    """The second one answered long before the first one's limit."""
    assert heard.status == 200, heard.raw[:500]
    assert heard.error is None
    assert heard.text == GOOD
    assert heard.finishes == ("stop",)
    return "the hedge answers"


async def _settled(gateway: Running, bad: RawUpstream) -> None:
    """The caller has his answer: nothing of it goes on behind him."""
    async with asyncio.timeout(2):
        while bad.busy or gateway.counted("pointsman_in_flight"):
            await asyncio.sleep(0.005)


def _counted(
    gateway: Running,
    fault: Fault,
    outcome: Outcome,
    bad: RawUpstream,
    good: RawUpstream,
    heard: Heard,
    route: Route,
) -> None:
    """The metrics add up with what the upstreams saw."""
    ended = {
        sample.labels["outcome"]: sample.value for sample in _samples(gateway, "pointsman_requests")
    }
    presented = "cancelled" if heard.left else "failed" if heard.error else "finished"
    assert ended == {presented: 1}
    attempts = {
        (sample.labels["provider"], sample.labels["outcome"]): sample.value
        for sample in _samples(gateway, "pointsman_attempts")
    }
    moved_on = isinstance(outcome, Unseen) and route != "alone" and outcome.fallback
    moved_on = moved_on or route == "resume"
    expected: dict[tuple[str, str], float] = {}
    if route == "hedge":
        expected["hard", "cancelled"] = 1
    elif isinstance(outcome, Unseen):
        expected["hard", outcome.kind] = outcome.alone if route == "alone" else outcome.attempts
    elif isinstance(outcome, Seen):
        expected["hard", outcome.kind] = 1
    else:
        expected["hard", "cancelled" if isinstance(outcome, Left) else "finished"] = 1
    if moved_on:
        expected["easy", "finished"] = 1
    assert attempts == expected
    asked = sum(count for (name, _), count in attempts.items() if name == "hard")
    assert bad.asked == (asked if fault.reaches else 0)
    assert good.asked == (1 if moved_on else 0)
    unseen = isinstance(outcome, Unseen) and outcome.fallback and route != "hedge"
    steps = int(asked) if unseen else 0
    assert gateway.summed("pointsman_fallbacks_total", route="auto") == steps
    errors = sum(sample.value for sample in _samples(gateway, "pointsman_errors"))
    assert errors == (1 if heard.error else 0)


def _samples(gateway: Running, name: str) -> list[Sample]:
    return [
        sample
        for family in gateway.services.metrics.registry.collect()
        if family.name == name
        for sample in family.samples
        if sample.name == f"{name}_total" and sample.value
    ]


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))
