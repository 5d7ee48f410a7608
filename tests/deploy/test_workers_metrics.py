"""One scrape speaks for all workers: each kind of metric, and a worker that dies in the middle."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import aiohttp

from tests.deploy.kept import asked, children, keeper, reaches, sample, until
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

WORDS = [f"w{n} " for n in range(40)]
SLOW = Play(openai_stream(*WORDS), chunk=200, delay_s=0.1)


async def test_every_scrape_gives_the_same_sums_whoever_answers_it(tmp_path: Path) -> None:
    play = Play(openai_body("hello"), content_type="application/json")
    async with ReplayServer(play) as upstream, keeper(tmp_path, upstream.url) as (_, url):
        await asked(url, 30)
        await reaches(url, "pointsman_ledger_rows_total", 30)
        wanted = {
            "pointsman_requests_total": 30,
            "pointsman_attempts_total": 30,
            "pointsman_request_seconds_count": 30,
            "pointsman_first_token_seconds_count": 30,
            "pointsman_decisions_total": 30,
        }
        # A connection each, so that both workers are met.
        for _ in range(10):
            for name, count in wanted.items():
                assert await sample(url, name) == count, name
        async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
            text = await answer.text()
        buckets = re.findall(
            r'^pointsman_request_seconds_bucket\{.*le="\+Inf".*\} (\S+)$', text, re.M
        )
        assert sum(map(float, buckets)) == 30


async def test_what_all_workers_see_alike_is_told_once_and_not_added_up(tmp_path: Path) -> None:
    extra = "[jobs]\nworkers = 1\n"
    async with (
        ReplayServer(SLOW) as upstream,
        keeper(tmp_path, upstream.url, extra=extra) as (_, url),
        aiohttp.ClientSession() as session,
    ):
        rows = [{"model": "lab/m", "message": f"later {number}"} for number in range(6)]
        async with session.post(url + "/jobs/batch", json={"requests": rows}) as answer:
            assert answer.status == 202, await answer.text()
        # One at each of two workers; four wait, and each worker knows of all four.
        await reaches(url, "pointsman_jobs_running", 2)
        await reaches(url, "pointsman_jobs_waiting", 4)
        await reaches(url, "pointsman_jobs_total", 6)
        await reaches(url, "pointsman_jobs_waiting", 0)
        await reaches(url, "pointsman_job_seconds_count", 6)


async def test_what_a_killed_worker_had_in_hand_does_not_run_for_ever(tmp_path: Path) -> None:
    async with ReplayServer(SLOW) as upstream, keeper(tmp_path, upstream.url) as (child, url):
        sessions = [aiohttp.ClientSession() for _ in range(12)]
        streams = [await one.post(url + "/complete", json={"message": "hello"}) for one in sessions]
        await reaches(url, "pointsman_in_flight", 12)
        victim = min(children(child.pid))
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(children(child.pid) - {victim}) == 2, "the place is filled")
        cut = whole = 0
        for stream in streams:
            try:
                whole += b'"finish_reason":"stop"' in await stream.read()
            except aiohttp.ClientError:
                cut += 1
        assert cut + whole == 12
        assert cut > 0
        assert whole > 0
        await reaches(url, "pointsman_in_flight", 0)
        await reaches(url, "pointsman_requests_total", whole)
        for one in sessions:
            await one.close()
