"""Processes are started, read and ended as the figures need it."""

import os
import time
from pathlib import Path

import pytest

from bench import procs
from bench.procs import FailedError, Process
from bench.procs import python as module_command

BURN = "import time\nwhile time.process_time() < {s}: pass\n"
SAY_AND_WAIT = "print('{}', flush=True)\ntime.sleep(60)\n"


def script(code: str, tmp_path: Path) -> Process:
    command = [*module_command("x")[:1], "-c", code]
    return Process("child", command, core=None, log=tmp_path / "log", talk=True)


def test_a_busy_childs_cpu_is_read(tmp_path: Path) -> None:
    child = script(BURN.format(s=0.3) + SAY_AND_WAIT, tmp_path)
    try:
        child.hear(20)
        assert 0.25 <= procs.cpu_seconds(child.pid) <= 1.0
        before = procs.cpu_seconds(child.pid)
        time.sleep(0.2)
        assert procs.cpu_seconds(child.pid) - before < 0.05
    finally:
        child.stop()


def test_cpu_of_threads_and_of_ended_children_counts_too(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, threading, time\n"
        f"subprocess.run([sys.executable, '-c', {BURN.format(s=0.3)!r}])\n"
        "def burn():\n"
        "    while time.thread_time() < 0.3: pass\n"
        "one = threading.Thread(target=burn); one.start(); one.join()\n"
    )
    child = script(code + SAY_AND_WAIT, tmp_path)
    try:
        child.hear(20)
        assert 0.5 <= procs.cpu_seconds(child.pid) <= 2.0
    finally:
        child.stop()


def test_memory_of_the_whole_tree_counts(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "one = subprocess.Popen([sys.executable, '-c', "
        '\'import time; held = bytearray(b"x") * 50_000_000; print(1, flush=True); '
        "time.sleep(60)'], stdout=subprocess.PIPE)\n"
        "one.stdout.readline()\n"
    )
    child = script(code + SAY_AND_WAIT, tmp_path)
    try:
        child.hear(20)
        assert 50e6 <= procs.rss_bytes(child.pid) <= 200e6
        assert len(procs.tree(child.pid)) == 2
        left = procs.tree(child.pid)
    finally:
        child.stop()
    assert not [pid for pid, born in left.items() if procs.lives(pid, born)]


def test_a_child_that_will_not_end_is_made_to(tmp_path: Path) -> None:
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    child = script(code + SAY_AND_WAIT, tmp_path)
    child.hear(20)
    child.stop(timeout_s=0.3)
    assert procs.tree(child.pid) == {}


def test_a_child_runs_on_the_core_it_was_given_and_the_bench_keeps_its_own(tmp_path: Path) -> None:
    mine = os.sched_getaffinity(0)
    core = max(mine)
    command = [*module_command("x")[:1], "-c", "import os; print(os.sched_getaffinity(0))"]
    child = Process("child", command, core=core, log=tmp_path / "log", talk=True)
    try:
        assert child.hear(20) == str({core}).encode()
    finally:
        child.stop()
    assert os.sched_getaffinity(0) == mine


def test_a_child_gets_no_settings_from_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "1")
    child = script("import os; print(os.environ.get('PORT'))", tmp_path)
    try:
        assert child.hear(20) == b"None"
    finally:
        child.stop()


def test_a_child_that_dies_says_why(tmp_path: Path) -> None:
    child = script("raise SystemExit('no such luck')", tmp_path)
    try:
        with pytest.raises(FailedError, match="ended early: no such luck"):
            child.hear(20)
        with pytest.raises(FailedError, match="no such luck"):
            child.wait_for(f"http://127.0.0.1:{procs.free_port()}/", timeout_s=20)
    finally:
        child.stop()


def test_a_child_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    child = script("import time; time.sleep(60)", tmp_path)
    try:
        with pytest.raises(FailedError, match="said nothing"):
            child.hear(0.1)
        with pytest.raises(FailedError, match="not ready"):
            child.wait_for(f"http://127.0.0.1:{procs.free_port()}/", timeout_s=0.1)
    finally:
        child.stop()
