"""The log: one line for each request, nothing of what was said, nothing lost at the end."""

from __future__ import annotations

import io
import logging
import time

import orjson

from chat.events import Usage
from chat.trace import Trace
from gateway.engine.ports import Settlement
from gateway.monitor import logs
from gateway.settings import Log


def settlement(number: int) -> Settlement:
    trace = Trace(f"id{number}", route="auto", target="lab/m", score=0.12345, total_ms=12.345)
    return Settlement("finished", "complete", trace, Usage(3, 2), True)


def test_every_request_has_its_line_of_json() -> None:
    out = io.StringIO()
    log = logs.start(Log(format="json"), out)
    for number in range(1000):
        log.access.add([(time.time(), settlement(number))])
    logging.getLogger("pointsman.door").warning("careful", extra={"fields": {"request_id": "x"}})
    log.stop()
    lines = [orjson.loads(line) for line in out.getvalue().splitlines()]
    access = [line for line in lines if line["logger"] == "pointsman.access"]
    assert [line["request_id"] for line in access] == [f"id{number}" for number in range(1000)]
    assert access[0]["score"] == 0.1235
    assert access[0]["total_ms"] == 12.3
    assert access[0]["time"].startswith("20")
    assert "error" not in access[0]
    other = next(line for line in lines if line["logger"] == "pointsman.door")
    assert (other["message"], other["request_id"], other["level"]) == ("careful", "x", "warning")


def test_a_terminal_gets_words() -> None:
    out = io.StringIO()
    log = logs.start(Log(format="text"), out)
    log.access.add([(time.time(), settlement(1))])
    log.stop()
    line = out.getvalue()
    assert "finished" in line
    assert "target=lab/m" in line
    assert "{" not in line


def test_debug_lines_come_only_in_debug_mode() -> None:
    for debug in (False, True):
        out = io.StringIO()
        log = logs.start(Log(format="json", debug=debug), out)
        logging.getLogger("pointsman.x").debug("deep")
        log.stop()
        assert ("deep" in out.getvalue()) is debug
