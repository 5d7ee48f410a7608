"""A disk that is full, where the log files are: answers are unharmed, and the process goes on."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.accounts.processes import gateway
from tests.faults.seen import asked, ready, sample, toml, until
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream

HELLO = Play(openai_body("hello"), content_type="application/json")
BROKEN = Play(b"no", 500, "text/plain")


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@pytest.mark.parametrize("count", [1, 2])
async def test_a_full_disk_under_the_log_files_harms_no_answer(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("app", "error", "debug", "app.1", "error.1", "debug.1"):
        # It takes no byte, as a full disk.
        (folder / f"{name}.log").symlink_to("/dev/full")
    async with ReplayServer(HELLO) as upstream:
        given = toml(upstream.url, more="[log]\ndebug = true\nfile_mb = 0.001")
        async with gateway(
            tmp_path, given, "--workers", str(count), LOG_DIR=str(folder)
        ) as running:
            for _ in range(30):
                assert (await asked(running.url))[0] == 200
            upstream.play(Play(openai_stream("Hel", "lo")))
            status, raw = await asked(running.url, stream=True)
            assert (status, b'"finish_reason":"stop"' in raw) == (200, True)
            upstream.play(BROKEN)
            # The error that is to be logged is told to the caller, and no other.
            assert (await asked(running.url))[0] == 502

            async def all_counted() -> bool:
                """A worker writes its books a moment after the answers."""
                return await sample(running.url, "pointsman_requests_total") == 32

            await until(all_counted, "every request is counted once")
            assert (await ready(running.url))["status"] == "ready"
    assert running.child.returncode == 0


async def test_files_that_may_grow_no_more_go_on_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    async with (
        ReplayServer(HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url), LOG_DIR=str(folder)) as running,
    ):
        pid = running.child.pid
        assert (await asked(running.url))[0] == 200

        async def written() -> bool:
            return size(folder / "app.log") > before

        before = 0
        await until(written, "a line is written")
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        before = size(folder / "app.log")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (before, hard))
        for _ in range(30):
            assert (await asked(running.url))[0] == 200
        assert size(folder / "app.log") == before
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert (await asked(running.url))[0] == 200
        await until(written, "lines are written again")
    assert running.child.returncode == 0
