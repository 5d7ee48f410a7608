"""The load generator counts right, and a wrong answer does not pass."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.job import Job, Seen, WrongAnswerError
from bench.load import Load
from bench.measure import run_job
from bench.procs import FailedError
from bench.prompts import prompts
from bench.script import script, text_of

ONESHOT = Job(port=0, door="openai", model="oneshot", chunks=32, requests=50, timeout_s=20)


async def run(job: Job) -> Seen:
    """One job inside this process, warm-up and all."""
    load = Load(job)
    try:
        async with asyncio.timeout(job.timeout_s):
            await load.warm_up()
            return await load.run()
    finally:
        load.close()


@asynccontextmanager
async def serving(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """A tiny server that reads a request and lets `answer` write; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
                await answer(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=5)


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_a_closed_loop_in_its_own_process_counts_requests_chunks_and_bytes(
    upstream: int, tmp_path: Path
) -> None:
    said = script("oneshot")
    assert said is not None
    job = replace(ONESHOT, port=upstream, callers=4, warmup=5)
    seen, cpu_s = run_job(job, (), tmp_path)
    assert (seen.requests, seen.chunks) == (50, 1600)
    assert seen.body_bytes == 50 * len(said.document.split(b"\r\n\r\n", 1)[1])
    assert len(seen.latency_ms) == 50
    assert seen.latency_ms == sorted(seen.latency_ms)
    assert cpu_s is None


async def test_a_hundred_streams_at_once_are_counted_to_the_chunk(upstream: int) -> None:
    job = Job(
        port=upstream,
        door="openai",
        model="chunks-20-5ms",
        chunks=20,
        requests=100,
        callers=100,
        stream=True,
        ramp_s=0.1,
        timeout_s=20,
    )
    seen = await run(job)
    assert (seen.requests, seen.chunks) == (100, 2000)


async def test_a_burst_longer_than_a_read_is_counted(upstream: int) -> None:
    job = replace(ONESHOT, port=upstream, model="burst-4000", chunks=4000, requests=3, stream=True)
    seen = await run(job)
    assert seen.chunks == 12_000


async def test_an_open_loop_sends_all_and_notes_how_late(upstream: int) -> None:
    seen = await run(replace(ONESHOT, port=upstream, requests=40, rate=200, callers=2, warmup=2))
    assert seen.requests == len(seen.latency_ms) == len(seen.late_ms) == 40
    assert seen.wall_s >= 39 / 200
    assert seen.late_ms[0] >= 0


async def test_an_open_loop_counts_what_a_stall_makes_others_wait() -> None:
    """A server that answers one at a time, 30 ms each, asked every 10 ms: a queue must show."""
    one_at_a_time = asyncio.Lock()

    async def answer(writer: asyncio.StreamWriter) -> None:
        async with one_at_a_time:
            await asyncio.sleep(0.03)
        writer.write(whole(b'{"text":"mark0000 "}'))

    async with serving(answer) as port:
        seen = await run(replace(ONESHOT, port=port, chunks=1, requests=20, rate=100))
    # The last of 20 is due after 190 ms and answered after 600 ms at the soonest.
    assert seen.latency_ms[-1] >= 390


async def test_an_answer_in_single_bytes_is_read_whole() -> None:
    body = b'data: {"choices":[]}\n\ndata: {"text":"mark0000 mark0001 "}\n\ndata: [DONE]\n\n'
    pieces = [body[:1], body[1:30], body[30:]]
    framed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed += b"".join(b"%x;name=value\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    framed += b"0\r\nTrailer: yes\r\n\r\n"

    async def answer(writer: asyncio.StreamWriter) -> None:
        for at in range(len(framed)):
            writer.write(framed[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)

    async with serving(answer) as port:
        seen = await run(replace(ONESHOT, port=port, chunks=2, requests=3, stream=True))
    assert seen.body_bytes == 3 * len(body)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops", "status 500: b'oops'"),
        (whole(b'{"text":"mark0000 "}'), "1 chunks instead of 3"),
        (whole(b'{"text":"mark0000 mark0002 mark0001 "}'), "chunk 2 is lost or out of order"),
        (whole(b'{"text":"mark0000 mark0001 mark0001 "}'), "chunk 2 is lost or out of order"),
        (whole(b'{"text":"mark0000 mark0001 mark0002 '), "not JSON"),
        (b"HTTP/1.0 200 OK\r\n\r\nmark", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nmark", "neither a length nor chunks"),
    ],
)
async def test_a_wrong_answer_ends_the_run_and_says_why(answer: bytes, reason: str) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with serving(say) as port:
        with pytest.raises(WrongAnswerError) as wrong:
            await run(replace(ONESHOT, port=port, chunks=3, requests=5))
    assert reason in str(wrong.value)


@pytest.mark.parametrize(
    ("door", "last"),
    [
        ("openai", b'data: {"text":"mark0000 "}\n\n'),
        ("openai", b'data: {"text":"mark0000 "}\n\ndata: [DONE]\n'),
        ("complete", b'data: {"message":"mark0000 "}\n\n'),
        ("complete", b'data: {"message":"mark0000 ","done":true,"error":{}}\n\n'),
    ],
)
async def test_a_stream_without_its_proper_end_is_wrong(door: str, last: bytes) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(whole(last))

    async with serving(say) as port:
        with pytest.raises(WrongAnswerError, match="the stream ends with"):
            await run(
                Job(
                    port=port,
                    door="openai" if door == "openai" else "complete",
                    model="m",
                    chunks=1,
                    requests=2,
                    stream=True,
                    timeout_s=20,
                )
            )


async def test_a_cut_answer_is_wrong_and_not_waited_for() -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nmark0000 ")
        writer.close()

    async with serving(say) as port:
        with pytest.raises(WrongAnswerError, match="closed before the answer ended"):
            await run(replace(ONESHOT, port=port, chunks=1, requests=2))


async def test_an_answer_of_auto_without_the_classifier_is_wrong() -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(whole(b'{"message":"mark0000 ","route":{"score":null}}'))

    async with serving(say) as port:
        with pytest.raises(WrongAnswerError, match="the classifier was not asked"):
            await run(replace(ONESHOT, port=port, door="complete", model="", chunks=1))


def test_a_wrong_answer_fails_the_measurement(upstream: int, tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="32 chunks instead of 31"):
        run_job(replace(ONESHOT, port=upstream, chunks=31), (), tmp_path)


def test_a_run_that_does_not_end_is_given_up(upstream: int, tmp_path: Path) -> None:
    job = replace(
        ONESHOT, port=upstream, model="chunks-100-1000ms", chunks=100, stream=True, timeout_s=0.5
    )
    with pytest.raises(FailedError, match="not finished after"):
        run_job(job, (), tmp_path)


def test_prompts_have_one_length_and_are_never_alike() -> None:
    made = list(prompts(7, 500))
    assert {len(one) for one in made} == {400}
    assert len(set(made) | set(prompts(8, 500))) == 1000
    assert made == list(prompts(7, 500))


def test_the_text_of_a_script_counts_up() -> None:
    assert text_of(3) == "mark0000 mark0001 mark0002 "
