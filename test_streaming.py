#!/usr/bin/env python3
"""Ask the running gateway one question and show that the answer streams.

Prints each chunk with the milliseconds at which it came, then who answered and why.
Exits 0 when it was streamed, and 1 with one plain sentence when it was not.
"""
# ruff: noqa: T201 - a script to be read on a terminal

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

URL = "http://127.0.0.1:8080"
MESSAGE = "Write three sentences about trains."
# A whole answer that was held back comes within this on a loopback, however many reads it takes.
ONE_INSTANT_MS = 2.0


class NotStreamedError(Exception):
    """Why the answer does not count as streamed, in one sentence."""


@dataclass
class Seen:
    """What has come so far: when each chunk came (ms), and the closing event."""

    chunk_ms: list[float] = field(default_factory=list)
    closing: dict[str, Any] | None = None


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[float, dict[str, Any]]]:
    """Yield the JSON of each `data:` event as soon as it is whole, after the time at which its
    last bytes were read (seconds of perf_counter); comments are passed over."""
    buffer = b""
    async for piece in response.content.iter_any():
        # Once a read: on a busy machine it takes milliseconds to print what came together.
        read_at = time.perf_counter()
        buffer = (buffer + piece).replace(b"\r\n", b"\n")
        *whole, buffer = buffer.split(b"\n\n")
        for block in whole:
            lines = block.decode("utf-8", "replace").split("\n")
            data = "\n".join(
                line.removeprefix("data:").removeprefix(" ")
                for line in lines
                if line.startswith("data:")
            )
            if not data:
                continue
            try:
                event = json.loads(data)
            except ValueError:
                raise NotStreamedError(f"An event is not JSON: {data[:200]}") from None
            if not isinstance(event, dict):
                raise NotStreamedError(f"An event is not a JSON object: {data[:200]}")
            yield read_at, event


async def ask(url: str, message: str, model: str, timeout_s: float) -> Seen:
    """Ask POST /complete, print as it comes; raise NotStreamedError."""
    body = {"message": message} | ({"model": model} if model else {})
    seen = Seen()
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=timeout_s)
    began = time.perf_counter()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(f"{url.rstrip('/')}/complete", json=body) as response,
        ):
            if response.status != 200:
                said = (await response.text()).strip()[:500]
                raise NotStreamedError(f"The gateway answered {response.status}: {said}")
            if response.content_type != "text/event-stream":
                raise NotStreamedError(
                    f"The content type is {response.content_type}, not text/event-stream."
                )
            async for read_at, event in events(response):
                show(event, (read_at - began) * 1000, seen)
    except aiohttp.ClientConnectorError:
        raise NotStreamedError(f"Nothing answers at {url}: start it with `make run`.") from None
    except TimeoutError:
        raise NotStreamedError(f"Nothing more came for {timeout_s:g} seconds.") from None
    except aiohttp.InvalidURL:
        raise NotStreamedError(f"{url} is no address.") from None
    except aiohttp.ClientError as error:
        raise NotStreamedError(f"The connection broke: {error or type(error).__name__}.") from None
    judge(seen)
    return seen


def show(event: dict[str, Any], at_ms: float, seen: Seen) -> None:
    """Note one event and print it; raise NotStreamedError for an error or a wrong order."""
    if seen.closing is not None:
        raise NotStreamedError("An event came after the closing event.")
    if error := event.get("error"):
        said = error.get("message", error) if isinstance(error, dict) else error
        raise NotStreamedError(f"The answer broke off with an error: {said}")
    if chunk := event.get("message"):
        seen.chunk_ms.append(at_ms)
        print(f"{at_ms:8.0f} ms  {chunk!r}", flush=True)
    if event.get("done"):
        seen.closing = event
        print(f"{at_ms:8.0f} ms  (end: {event.get('finish_reason')})")


def judge(seen: Seen) -> None:
    """Raise NotStreamedError unless chunks came one after the other and the end was told."""
    if seen.closing is None:
        raise NotStreamedError("The stream ended without a closing event: the answer was cut.")
    tokens = (seen.closing.get("usage") or {}).get("output_tokens")
    chunks = len(seen.chunk_ms)
    if chunks < 2:
        counted = "" if tokens is None else f" for {tokens} tokens"
        raise NotStreamedError(f"Not streamed: {chunks} chunk{'s' * (chunks != 1)}{counted}.")
    spread = seen.chunk_ms[-1] - seen.chunk_ms[0]
    if spread <= ONE_INSTANT_MS and tokens != 1:
        raise NotStreamedError(f"Not streamed: all {chunks} chunks came in one instant.")


def summary(seen: Seen) -> str:
    """Who answered and why, from the closing event."""
    closing = seen.closing or {}
    route = closing.get("route") or {}
    usage = closing.get("usage") or {}
    lines = [f"model   {closing.get('model')}"]
    if route:
        score = route.get("score")
        told = "no score" if score is None else f"score {score:.2f}"
        lines.append(f"route   {route.get('target')} (tier {route.get('tier')}, {told})")
        lines.append(f"reason  {route.get('reason')}")
    lines += [f"before  {json.dumps(fallback)}" for fallback in route.get("fallbacks") or []]
    lines.append(
        f"stream  {len(seen.chunk_ms)} chunks from {seen.chunk_ms[0]:.0f} to "
        f"{seen.chunk_ms[-1]:.0f} ms; tokens: {usage.get('input_tokens')} in, "
        f"{usage.get('output_tokens')} out"
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default=URL, help="where the gateway answers (%(default)s)")
    parser.add_argument("--message", default=MESSAGE, help="the prompt (%(default)r)")
    parser.add_argument("--model", default="", help="a model; without one the gateway chooses")
    parser.add_argument("--timeout", type=float, default=60, help="silence, seconds (%(default)s)")
    given = parser.parse_args()
    try:
        seen = asyncio.run(ask(given.url, given.message, given.model, given.timeout))
    except NotStreamedError as why:
        print(why, file=sys.stderr)
        return 1
    print(summary(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
