"""The load generator: a process of its own, so that its work is nobody else's.

    python -m bench.load <<< '{"port": 8080, ...}'

It reads one job (`bench.job.Job`) as a line of JSON, warms up, prints `{"ready": true}`, waits
for a second line, runs, and prints `{"seen": ...}` or `{"failure": "..."}`. Whoever started it
reads the subject's CPU clock at `ready` and at `seen`.

An open loop sends by the clock. A late answer delays nobody's start, and each latency counts from
the scheduled moment: what a slow subject makes others wait is in its figures (no coordinated
omission).
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

import orjson
import uvloop

from bench.client import Answer, Connection
from bench.job import Job, Seen, WrongAnswerError, check, check_closely
from bench.prompts import prompts
from bench.timer import Timer

MAX_CONNECTIONS = 512


class Load:
    """One job's connections and what came over them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._loop = asyncio.get_running_loop()
        self._connections: list[Connection] = []
        self._samples: list[bytes] = []
        self._ended = self._loop.create_future()
        self._restart()

    def _restart(self) -> None:
        self._sent = self._done = self._chunks = self._bytes = self._due = 0
        self._latency: list[float] = []
        self._late: list[float] = []
        self._first: list[float] = []
        self._requests: list[bytes] = []
        self._samples.clear()
        self._ended = self._loop.create_future()

    async def warm_up(self) -> None:
        """Open the connections and send the warm-up's requests; raises WrongAnswerError."""
        for _ in range(self.job.callers):
            self._connections.append(await self._connect())
        await self._closed_loop(self.job.warmup, ramp_s=0.0, seed=2 * self.job.seed + 1)

    async def run(self) -> Seen:
        """The run itself; raises WrongAnswerError at the first wrong answer."""
        began, cpu = time.perf_counter(), time.process_time()
        if self.job.rate:
            await self._open_loop()
        else:
            await self._closed_loop(
                self.job.requests, ramp_s=self.job.ramp_s, seed=2 * self.job.seed
            )
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        for sample in self._samples:
            check_closely(self.job, sample)
        return Seen(
            requests=self._done,
            chunks=self._chunks,
            body_bytes=self._bytes,
            wall_s=wall,
            load_cpu_s=cpu,
            latency_ms=sorted(1000 * one for one in self._latency),
            late_ms=sorted(1000 * one for one in self._late),
            first_ms=sorted(1000 * one for one in self._first),
        )

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def _connect(self) -> Connection:
        _, connection = await self._loop.create_connection(Connection, "127.0.0.1", self.job.port)
        return connection

    def _prepare(self, count: int, seed: int) -> None:
        self._restart()
        self._requests = [
            self.job.request(prompt) for prompt in prompts(seed, count, self.job.prompt_chars)
        ]

    async def _closed_loop(self, count: int, ramp_s: float, seed: int) -> None:
        """Each connection asks again as soon as it has its answer, `count` times in all."""
        self._prepare(count, seed)
        if not count:
            return
        chance = random.Random(seed)
        for connection in self._connections:
            if ramp_s:
                self._loop.call_later(chance.uniform(0, ramp_s), self._ask_next, connection)
            else:
                self._ask_next(connection)
        await self._ended

    def _ask_next(self, connection: Connection) -> None:
        if self._sent < len(self._requests) and not self._ended.done():
            self._ask(connection, time.perf_counter(), self._ask_next)

    async def _open_loop(self) -> None:
        """Request i leaves at i / rate seconds, on a free connection or a new one."""
        self._prepare(self.job.requests, 2 * self.job.seed)
        free = list(self._connections)
        began = time.perf_counter()

        def moment(number: int) -> float:
            return began + number / self.job.rate

        def give_back(connection: Connection) -> None:
            free.append(connection)

        async def ask_on_a_new_one(number: int) -> None:
            try:
                if len(self._connections) >= MAX_CONNECTIONS:
                    raise WrongAnswerError(f"{MAX_CONNECTIONS} requests wait for an answer")
                connection = await self._connect()
            except (OSError, WrongAnswerError) as wrong:
                self._stop(wrong)
                return
            self._connections.append(connection)
            self._ask(connection, moment(number), give_back)

        opening: set[asyncio.Task[None]] = set()

        def send_what_is_due() -> None:
            while self._due < self.job.requests and moment(self._due) <= time.perf_counter():
                while free and not free[-1].is_open:
                    free.pop()
                if free:
                    self._ask(free.pop(), moment(self._due), give_back)
                else:
                    task = self._loop.create_task(ask_on_a_new_one(self._due))
                    opening.add(task)
                    task.add_done_callback(opening.discard)
                self._due += 1
            if self._due < self.job.requests and not self._ended.done():
                timer.set(moment(self._due) - time.perf_counter())

        timer = Timer(self._loop, send_what_is_due)
        try:
            send_what_is_due()
            await self._ended
        finally:
            timer.close()

    def _ask(
        self, connection: Connection, since: float, after: Callable[[Connection], None]
    ) -> None:
        """Send the next request; its latency counts from `since`."""

        def done(answer: Answer) -> None:
            self._latency.append(time.perf_counter() - since)
            self._first.append(answer.first_at - since)
            self._count(answer)
            after(connection)

        request = self._requests[self._sent]
        self._sent += 1
        if self.job.rate:
            self._late.append(time.perf_counter() - since)
        try:
            connection.send(request, done)
        except RuntimeError as wrong:
            self._stop(wrong)

    def _count(self, answer: Answer) -> None:
        try:
            check(self.job, answer.status, answer.body, answer.failure)
        except WrongAnswerError as wrong:
            self._stop(wrong)
            return
        self._done += 1
        self._chunks += self.job.chunks
        self._bytes += len(answer.body)
        # The first answers and the last are read closely once the run is over.
        if self._done <= self.job.callers or self._done == len(self._requests):
            self._samples.append(answer.body)
        if self._done == len(self._requests) and not self._ended.done():
            self._ended.set_result(None)

    def _stop(self, wrong: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(WrongAnswerError(str(wrong)))


async def serve() -> int:
    """One job from standard input to standard output; the exit status."""
    job = Job(**orjson.loads(sys.stdin.readline()))
    load = Load(job)
    try:
        async with asyncio.timeout(job.timeout_s):
            await load.warm_up()
        _say({"ready": True})
        # Nothing else runs meanwhile, so that waiting here blocks nobody.
        if not sys.stdin.readline():
            return 1
        async with asyncio.timeout(job.timeout_s):
            seen = await load.run()
    except TimeoutError:
        _say({"failure": f"not finished after {job.timeout_s:g} s"})
        return 1
    except (OSError, WrongAnswerError) as wrong:
        _say({"failure": str(wrong)})
        return 1
    finally:
        load.close()
    _say({"seen": asdict(seen)})
    return 0


def _say(what: dict[str, object]) -> None:
    sys.stdout.write(orjson.dumps(what).decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    sys.exit(uvloop.run(serve()))


if __name__ == "__main__":
    main()
