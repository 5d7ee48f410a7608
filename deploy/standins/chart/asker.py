"""Runs in a pod beside the gateways and asks them: `asker.py SERVICE one [CODE]`, `limited COUNT
ADDRESS...`, `streams SECONDS`, `load SECONDS`. Its last line is what it found, as JSON."""

import asyncio
import collections
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

KEYS = Path("/run/keys")


def asking(code: str, **more: object) -> dict[str, Any]:
    body = {"message": "Name three colours.", "model": "auto", **more}
    return {"json": body, "headers": {"Authorization": f"Bearer {code}"}}


def code(name: str) -> str:
    return (KEYS / name).read_text().strip()


async def one(session: aiohttp.ClientSession, base: str, shown: str) -> dict[str, object]:
    async with session.post(f"{base}/complete", **asking(shown, stream=False)) as answer:
        told = await answer.json()
        route = told.get("route", {})
        return {
            "status": answer.status,
            "message": told.get("message"),
            **{name: route.get(name) for name in ("target", "score", "reason")},
        }


async def limited(
    session: aiohttp.ClientSession, count: int, addresses: list[str]
) -> dict[str, object]:
    """Asked of each gateway in turn, one after the other."""
    seen: collections.Counter[str] = collections.Counter()
    for number in range(count):
        base = f"http://{addresses[number % len(addresses)]}:8080"
        shown = asking(code("FEW_CODE"), stream=False, max_tokens=2)
        async with session.post(f"{base}/complete", **shown) as answer:
            await answer.read()
            seen[str(answer.status)] += 1
    return dict(seen)


async def streams(base: str, seconds: float, kept: bool) -> collections.Counter[str]:
    """One after the other until the time is over; how they ended."""
    seen: collections.Counter[str] = collections.Counter()
    until = time.monotonic() + seconds
    connector = aiohttp.TCPConnector(force_close=not kept)
    async with aiohttp.ClientSession(connector=connector) as session:
        while time.monotonic() < until:
            # Another one each time: what was scored once is remembered.
            question = f"Name {time.monotonic_ns()} colours."
            shown = asking(code("APP_CODE"), message=question, max_tokens=60)
            text = b""
            try:
                async with session.post(f"{base}/complete", **shown) as answer:
                    async for piece in answer.content.iter_any():
                        text += piece
                    last = text.rpartition(b"data: ")[2]
                    if answer.status != 200:
                        seen[f"status {answer.status}"] += 1
                    else:
                        seen[ended(last)] += 1
            except aiohttp.ClientError as wrong:
                seen[f"{type(wrong).__name__} after {len(text)} bytes: {wrong}"] += 1
    return seen


def ended(event: bytes) -> str:
    """How a stream ended, of its last event."""
    try:
        told = json.loads(event)
    except ValueError:
        return f"cut: {event[:80]!r}"
    if not told.get("done") or told.get("error"):
        return f"broken: {event[:80]!r}"
    return "whole" if told["route"]["score"] is not None else "whole, but nobody scored it"


async def load(base: str, seconds: float) -> dict[str, int]:
    """Answers that cost the gateway something and the model nothing."""
    until, asked = time.monotonic() + seconds, 0
    async with aiohttp.ClientSession() as session:

        async def loop() -> None:
            nonlocal asked
            while time.monotonic() < until:
                async with session.get(f"{base}/v1/models") as answer:
                    await answer.read()
                asked += 1

        await asyncio.gather(*(loop() for _ in range(8)))
    return {"asked": asked}


async def main() -> None:
    service, verb, *words = sys.argv[1:]
    base = f"http://{service}"
    if verb == "streams":
        ends = await asyncio.gather(
            *(streams(base, float(words[0]), kept) for kept in (False, True, True))
        )
        print(json.dumps(sum(ends, collections.Counter())))
        return
    if verb == "load":
        print(json.dumps(await load(base, float(words[0]))))
        return
    async with aiohttp.ClientSession() as session:
        if verb == "limited":
            print(json.dumps(await limited(session, int(words[0]), words[1:])))
        else:
            print(json.dumps(await one(session, base, words[0] if words else code("APP_CODE"))))


asyncio.run(main())
