"""The supervisor over small real processes, driven by real signals."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WITHIN_S = 30

LIVES = """
import os, sys, time
print("alive", os.getpid())
time.sleep(600)
"""

ENDS_SLOWLY = """
import signal, sys, time
def end(*_):
    print("ending")
    time.sleep(0.3)
    print("ended")
    sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
signal.signal(signal.SIGTERM, end)
print("alive")
while True:
    time.sleep(0.05)
"""

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("alive")
time.sleep(600)
"""

# Like gunicorn: the master forks a worker that shares the listener and outlives a kill -9 of it.
MASTER_AND_WORKER = r"""
import http.server, os, signal, sys, time
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Quiet)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(1, b"worker %d\n" % os.getpid())
    server.serve_forever()
os.write(1, b"master %d\n" % os.getpid())
time.sleep(600)
"""


class Run:
    """A supervisor at work and the lines that it wrote, both streams in one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        assert self.process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                while line := await self.process.stdout.readline():
                    self.lines.append(line.decode().rstrip("\n"))
                    if match := re.search(pattern, self.lines[-1]):
                        return match
        raise AssertionError(f"no line matches {pattern!r}:\n" + "\n".join(self.lines))

    async def end(self) -> int:
        """Read to the end and give the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            self.lines += (await self.process.stdout.read()).decode().splitlines()
            return await self.process.wait()

    def said(self, name: str) -> list[str]:
        """What one speaker wrote."""
        return [
            line.split("| ", 1)[1]
            for line in self.lines
            if "| " in line and line.split("|", 1)[0].strip() == name
        ]


class Runs:
    """Starts supervisors and leaves none behind."""

    def __init__(self) -> None:
        self._all: list[Run] = []

    async def start(
        self, *children: dict[str, Any], hangup: Any = signal.SIG_DFL, **patience: float
    ) -> Run:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("run_table.py")),
            json.dumps({"children": children, "patience": patience}),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # The tests themselves may run under nohup, which the supervisor heeds.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, hangup),
        )
        run = Run(process)
        self._all.append(run)
        return run

    async def close(self) -> None:
        for run in self._all:
            if run.process.returncode is None:
                # The children of a killed supervisor get TERM; none of the tests leaves a deaf one.
                run.process.kill()
                await run.end()
            assert not [line for line in run.lines if "Warning" in line or "Traceback" in line]


@pytest.fixture
async def runs() -> AsyncIterator[Runs]:
    runs = Runs()
    yield runs
    await runs.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


async def gone(pid: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        while is_alive(pid):
            await asyncio.sleep(0.02)


async def test_both_outputs_pass_through_with_the_name_of_the_speaker(runs: Runs) -> None:
    talks = "import sys, time; print('out'); print('err', file=sys.stderr); time.sleep(600)"
    run = await runs.start({"name": "talks", "code": talks}, {"name": "lives", "code": LIVES})
    await run.until("err|out")
    await run.until("err|out")
    run.process.terminate()

    assert await run.end() == 0
    assert sorted(run.said("talks")) == ["err", "out"]
    assert "talks     | out" in run.lines
    assert "\x1b" not in "".join(run.lines)


async def test_a_last_line_without_an_end_and_a_very_long_one_are_passed_on(runs: Runs) -> None:
    code = "import sys; sys.stdout.write('x' * 200_000 + chr(10) + 'the rest')"
    run = await runs.start({"name": "talks", "code": code}, tries=1)

    assert await run.end() == 1
    said = run.said("talks")
    assert said[-1] == "the rest"
    assert sum(map(len, said[:-1])) == 200_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_reaches_all_and_ends_with_0(runs: Runs, number: signal.Signals) -> None:
    run = await runs.start(
        {"name": "first", "code": ENDS_SLOWLY}, {"name": "second", "code": ENDS_SLOWLY}
    )
    await run.until("alive")
    await run.until("alive")
    run.process.send_signal(number)

    assert await run.end() == 0
    assert run.said("first") == run.said("second") == ["alive", "ending", "ended"]


async def test_under_nohup_a_closed_terminal_ends_nothing(runs: Runs) -> None:
    code = "import time; print('alive'); time.sleep(0.5); print('goes on'); time.sleep(600)"
    run = await runs.start({"name": "lives", "code": code}, hangup=signal.SIG_IGN)
    await run.until("alive")
    run.process.send_signal(signal.SIGHUP)
    await run.until("goes on")
    run.process.terminate()

    assert await run.end() == 0


async def test_whoever_depends_on_others_ends_before_them(runs: Runs) -> None:
    run = await runs.start(
        {"name": "asked", "code": ENDS_SLOWLY}, {"name": "asks", "code": ENDS_SLOWLY}
    )
    await run.until("alive")
    await run.until("alive")
    run.process.terminate()
    await run.end()

    order = [line.replace(" ", "") for line in run.lines if "end" in line]
    assert order == ["asks|ending", "asks|ended", "asked|ending", "asked|ended"]


SERVES_LATE = """
import http.server, sys, time
class Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if not hasattr(self.server, "asked"):
            print("answers")
        self.server.asked = True
        super().do_GET()
    def log_message(self, *_): pass
time.sleep(0.5)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Quiet).serve_forever()
"""


async def test_whoever_waits_starts_when_those_above_are_ready(
    runs: Runs, unused_tcp_port: int
) -> None:
    argv = [sys.executable, "-c", SERVES_LATE, str(unused_tcp_port)]
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    run = await runs.start(
        {"name": "late", "argv": argv, "health_url": url},
        {"name": "waits", "code": LIVES, "waits_s": WITHIN_S},
    )
    await run.until("waits .*alive")
    run.process.terminate()

    assert await run.end() == 0
    assert run.said("late") == ["answers"]
    assert run.lines[0].startswith("late")


async def test_whoever_waits_starts_all_the_same_when_its_time_is_over(
    runs: Runs, unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    run = await runs.start(
        {"name": "never", "code": LIVES, "health_url": url},
        {"name": "waits", "code": LIVES, "waits_s": 0.2},
    )
    await run.until("waits .*alive")
    run.process.terminate()

    assert await run.end() == 0


async def test_a_stop_ends_the_wait_for_those_above(runs: Runs, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    run = await runs.start(
        {"name": "never", "code": LIVES, "health_url": url},
        {"name": "waits", "code": LIVES, "waits_s": 600},
    )
    await run.until("never .*alive")
    run.process.terminate()

    assert await run.end() == 0
    assert run.said("waits") == []


async def test_a_killed_child_comes_back_and_the_others_stay(runs: Runs) -> None:
    run = await runs.start({"name": "lives", "code": LIVES}, {"name": "other", "code": LIVES})
    pid = int((await run.until(r"lives .*alive (\d+)"))[1])
    os.kill(pid, signal.SIGKILL)
    again = int((await run.until(r"lives .*alive (\d+)"))[1])
    run.process.terminate()

    assert await run.end() == 0
    assert again != pid
    assert "lives ended (killed by SIGKILL), again in 0.2 s" in run.said("pointsman")
    assert len(run.said("other")) <= 1


async def test_a_killed_master_heals_though_its_worker_holds_the_port(
    runs: Runs, unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    argv = [sys.executable, "-c", MASTER_AND_WORKER, str(unused_tcp_port)]
    run = await runs.start({"name": "forks", "argv": argv, "health_url": url})
    found = {}
    for _ in range(2):
        match = await run.until(r"(master|worker) (\d+)")
        found[match[1]] = int(match[2])
    os.kill(found["master"], signal.SIGKILL)
    await run.until("forks is ready again after")
    await gone(found["worker"])
    run.process.terminate()

    assert await run.end() == 0
    starts = [line for line in run.said("forks") if line.startswith("master")]
    assert len(starts) == 2, run.lines


async def test_nothing_of_a_stopped_child_stays_behind(runs: Runs, unused_tcp_port: int) -> None:
    argv = [sys.executable, "-c", MASTER_AND_WORKER, str(unused_tcp_port)]
    run = await runs.start({"name": "forks", "argv": argv})
    worker = int((await run.until(r"worker (\d+)"))[1])
    run.process.terminate()

    assert await run.end() == 0
    await gone(worker)


async def test_the_pause_before_a_new_start_doubles_to_its_limit(runs: Runs) -> None:
    run = await runs.start(
        {"name": "quick", "code": "raise SystemExit(7)"},
        first_pause=0.02,
        longest_pause=0.06,
    )
    await run.end()

    pauses = [line.rsplit(" ", 2)[1] for line in run.said("pointsman") if "again in" in line]
    assert pauses == ["0.02", "0.04", "0.06", "0.06"]


async def test_a_child_that_can_never_start_stops_all_and_says_why(runs: Runs) -> None:
    code = "import sys; print('starting'); sys.exit('no weights in /models')"
    run = await runs.start(
        {"name": "bad", "code": code}, {"name": "good", "code": ENDS_SLOWLY}, first_pause=0.01
    )

    assert await run.end() == 1
    assert run.said("bad").count("starting") == 5
    assert "bad cannot start: exit code 1, 5 times in a row: no weights in /models" in run.said(
        "pointsman"
    )
    assert run.said("good")[-1] == "ended"


async def test_a_program_that_is_not_there_stops_all_at_once(runs: Runs) -> None:
    run = await runs.start(
        {"name": "absent", "argv": ["/nonexistent/program"]}, {"name": "lives", "code": LIVES}
    )

    assert await run.end() == 1
    assert "absent cannot start" in "\n".join(run.said("pointsman"))


async def test_a_child_that_was_ready_is_started_again_and_again(
    runs: Runs, unused_tcp_port: int
) -> None:
    code = f"""
import http.server, threading, time
class Once(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        threading.Thread(target=self.server.shutdown).start()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", {unused_tcp_port}), Once).serve_forever()
"""
    run = await runs.start(
        {"name": "brief", "code": code, "health_url": f"http://127.0.0.1:{unused_tcp_port}/"},
        first_pause=0.01,
        longest_pause=0.01,
    )
    for _ in range(7):
        await run.until("brief ended")
    run.process.terminate()

    assert await run.end() == 0
    assert "cannot start" not in "\n".join(run.lines)


async def test_a_deaf_child_is_killed_when_its_time_is_over(runs: Runs) -> None:
    run = await runs.start({"name": "deaf", "code": DEAF}, to_end=0.1)
    await run.until("alive")
    run.process.terminate()

    assert await run.end() == 1
    assert "deaf is killed: it did not end within 2 s" in run.said("pointsman")


async def test_a_second_signal_kills(runs: Runs) -> None:
    run = await runs.start({"name": "deaf", "code": DEAF}, {"name": "also", "code": DEAF})
    await run.until("alive")
    await run.until("alive")
    run.process.send_signal(signal.SIGINT)
    await run.until("stopping")
    run.process.send_signal(signal.SIGINT)

    assert await run.end() == 1
    assert "deaf is killed" in run.said("pointsman")
    assert "also is killed" in run.said("pointsman")


async def test_a_child_that_ends_badly_makes_the_exit_code_1(runs: Runs) -> None:
    argv = [sys.executable, "-c", ENDS_SLOWLY, "3"]
    run = await runs.start({"name": "bad", "argv": argv}, {"name": "good", "code": LIVES})
    await run.until("bad .*alive")
    run.process.terminate()

    assert await run.end() == 1
    assert "bad ended badly: exit code 3" in run.said("pointsman")


async def test_a_stop_during_the_pause_does_not_wait_for_it(runs: Runs) -> None:
    run = await runs.start({"name": "quick", "code": "raise SystemExit(7)"}, first_pause=600)
    await run.until("again in")
    run.process.terminate()

    assert await run.end() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is of Linux")
async def test_a_killed_supervisor_leaves_no_child_behind(runs: Runs) -> None:
    run = await runs.start({"name": "lives", "code": LIVES})
    pid = int((await run.until(r"alive (\d+)"))[1])
    run.process.kill()
    await run.end()

    await gone(pid)
