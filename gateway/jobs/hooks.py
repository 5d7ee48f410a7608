"""Tells a job's webhook that it ended: signed, tried again for hours, also after a restart.

    POST <webhook>
    X-Pointsman-Job: <id>
    X-Pointsman-Timestamp: <seconds since 1970>
    X-Pointsman-Signature: v1=<hex HMAC-SHA256 of "<timestamp>.<body>" under jobs.webhook_secret>

Any 2xx is an answer; everything else, a redirect too, is tried again. A receiver may be told twice
and knows a job by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import random
import socket
import time
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.jobs.job import Job
from gateway.jobs.queue import Queue
from gateway.jobs.quiet import Quiet
from gateway.settings import Jobs
from providers.guard import RefusedAddressError, Resolved, resolve_public

LOOK_S = 1.0
TIMEOUT_S = 15.0
AT_ONCE = 8
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 3600.0

log = logging.getLogger("pointsman.jobs")

Body = Callable[[Job], bytes]


def signature(secret: str, timestamp: int, body: bytes) -> str:
    signed = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return "v1=" + signed.hexdigest()


def wait_before(tries: int) -> float:
    """Seconds before the next try after so many: 2, 4, 8, ... with jitter, an hour at most."""
    ceiling = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(tries - 1, 20))
    return ceiling * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter, not a secret


class Hooks:
    """`body`: what a job's webhook is told."""

    def __init__(
        self,
        queue: Queue,
        settings: Jobs,
        body: Body,
        wait: Callable[[int], float] = wait_before,
        quiet: Quiet | None = None,
    ) -> None:
        self._queue = queue
        self._body = body
        self._wait = wait
        self._quiet = quiet or Quiet()
        self.settings = settings
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._look())

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    async def _look(self) -> None:
        while True:
            await self._quiet.over()
            try:
                due = await self._queue.due_hooks(AT_ONCE)
                await asyncio.gather(*(self._told(job) for job in due))
                if len(due) == AT_ONCE:
                    continue
            except Exception as fault:
                log.warning("webhooks", extra={"fields": {"error": str(fault) or repr(fault)}})
            await asyncio.sleep(LOOK_S)

    async def _told(self, job: Job) -> None:
        try:
            status = await self._sent(job)
            failure = None if 200 <= status < 300 else f"status {status}"
        except RefusedAddressError as refused:
            failure = str(refused)
        except (aiohttp.ClientError, OSError, TimeoutError) as fault:
            failure = type(fault).__name__
        if failure is None:
            await self._queue.hook_told(job.id, "delivered", None)
            return
        last = job.hook_tries >= self.settings.webhook_tries
        told = {"job": job.id, "try": job.hook_tries, "error": failure}
        log.warning("webhook not delivered", extra={"fields": told})
        if last:
            await self._queue.hook_told(job.id, "failed", None)
        else:
            await self._queue.hook_told(job.id, "pending", self._wait(job.hook_tries))

    async def _sent(self, job: Job) -> int:
        assert job.webhook is not None
        # Looked at again: the name may stand for another machine by now.
        where = await resolve_public(job.webhook, self.settings.webhook_allow)
        body, now = self._body(job), int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "pointsman-webhook/1",
            "X-Pointsman-Job": job.id,
            "X-Pointsman-Timestamp": str(now),
            "X-Pointsman-Signature": signature(self.settings.webhook_secret, now, body),
        }
        connector = aiohttp.TCPConnector(resolver=_Pinned(where), use_dns_cache=False)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False
            ) as session,
            session.post(where.url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            return response.status


class _Pinned(AbstractResolver):
    """Knows one host, by the addresses that were looked at."""

    def __init__(self, where: Resolved) -> None:
        self._where = where

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._where.addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""
