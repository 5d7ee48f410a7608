"""app.log, error.log and debug.log."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from chat.events import Usage
from chat.trace import Trace
from gateway.engine.ports import Settlement
from gateway.monitor import logs
from gateway.settings import Log


def settlement(number: int) -> Settlement:
    trace = Trace(f"id{number}", route="auto", target="lab/m")
    return Settlement("finished", "complete", trace, Usage(3, 2), True)


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_each_file_has_its_level_and_lines_their_context(tmp_path: Path) -> None:
    out = io.StringIO()
    log = logs.start(Log(debug=True, format="text", folder=str(tmp_path / "logs")), out)
    ours = logging.getLogger("pointsman.x")
    ours.debug("deep", extra={"fields": {"request_id": "r1", "target": "lab/m"}})
    ours.info("plain")
    try:
        raise ZeroDivisionError("a fault")
    except ZeroDivisionError:
        ours.exception("bad", extra={"fields": {"request_id": "r2"}})
    log.access.add([(time.time(), settlement(1))])
    log.stop()
    folder = tmp_path / "logs"
    app, error, debug = (lines(folder / f"{name}.log") for name in ("app", "error", "debug"))
    assert {line["message"] for line in app if "message" in line} == {"plain", "bad"}
    assert [line["request_id"] for line in app if line["logger"] == "pointsman.access"] == ["id1"]
    assert [line["message"] for line in error] == ["bad"]
    assert "ZeroDivisionError" in error[0]["exception"]
    assert error[0]["request_id"] == "r2"
    deep = next(line for line in debug if line.get("message") == "deep")
    assert (deep["request_id"], deep["target"]) == ("r1", "lab/m")
    assert len(debug) == 4
    assert "plain" in out.getvalue(), "the stream has them, too"


def test_without_debug_mode_no_debug_lines_are_written(tmp_path: Path) -> None:
    log = logs.start(Log(folder=str(tmp_path)), io.StringIO())
    logging.getLogger("pointsman.x").debug("deep")
    log.stop()
    assert not (tmp_path / "debug.log").exists()


def test_files_roll_over_and_the_oldest_go(tmp_path: Path) -> None:
    for start in range(0, 200, 10):
        log = logs.start(Log(folder=str(tmp_path), file_mb=0.001, files=2), io.StringIO())
        for number in range(start, start + 10):
            log.access.add([(time.time(), settlement(number))])
        log.stop()
    names = {path.name for path in tmp_path.glob("app.log*")}
    assert names == {"app.log", "app.log.1", "app.log.2"}
    assert lines(tmp_path / "app.log")[-1]["request_id"] == "id199"


def test_each_process_has_its_own_set(tmp_path: Path) -> None:
    for number in (0, 1):
        log = logs.start(Log(folder=str(tmp_path)), io.StringIO(), number)
        log.access.add([(time.time(), settlement(number))])
        log.stop()
    assert [line["request_id"] for line in lines(tmp_path / "app.log")] == ["id0"]
    assert [line["request_id"] for line in lines(tmp_path / "app.1.log")] == ["id1"]


def test_a_full_disk_costs_lines_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """/dev/full refuses each write as a full disk does."""
    for name in ("app", "error", "debug"):
        (tmp_path / f"{name}.log").symlink_to("/dev/full")
    out = io.StringIO()
    log = logs.start(Log(folder=str(tmp_path), format="json"), out)
    logging.getLogger("pointsman.x").error("bad")
    log.access.add([(time.time(), settlement(1))])
    log.stop()
    written = [orjson.loads(line) for line in out.getvalue().splitlines()]
    assert {line.get("message", line.get("request_id")) for line in written} == {"bad", "id1"}
    assert "Traceback" not in capsys.readouterr().err
