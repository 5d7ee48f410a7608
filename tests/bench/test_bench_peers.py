"""The bench of peers: its arithmetic, its plots, and a short run of what is here anyway."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from bench import open_streams
from bench.job import Job, Seen
from bench.measure import Figure, Phase, upstream
from bench.peers import install, report, rounds, starts, svg
from bench.subjects import AbsentError, Row, Stage

ROOT = Path(__file__).parents[2]


def seen(requests: int, chunks: int, milliseconds: float) -> Seen:
    times = [milliseconds] * requests
    return Seen(requests, chunks, 0, 1.0, 0.1, times, [0.1] * requests, [one / 2 for one in times])


def results() -> rounds.Results:
    """Two rounds of four rows; each figure can be worked out by hand."""
    plan = rounds.Plan(2, (), 10_000)
    found = rounds.Results(plan, done=2)
    micro = {"direct": None, "relay": 100.0, "tensorzero": 90.0, "litellm": 5000.0}
    for number in range(2):
        for row, cost in micro.items():
            for phase in ("callers 16", "rate 50", "rate 100", "streams"):
                if row == "litellm" and phase == "rate 100":
                    continue
                cpu = None if cost is None else cost * 1000 / 1e6
                wait = 1.0 if cost is None else 1.0 + cost / 1000
                found.figures.append(
                    Figure(number, row, phase, cpu, seen(1000, 10_000, wait + number))
                )
    found.starts_s = {"named": [0.3, 0.4], "litellm": [9.0]}
    found.memory = {
        "named": rounds.Memory(50_000_000, 60_000_000, 61_000_000, 10_000),
        "litellm": rounds.Memory(300_000_000, 350_000_000, 352_000_000, 10_000),
    }
    found.cannot = {"litellm": ["rate 100: 76/s is its most"]}
    found.notes = ["`portkey` left out: node and npm are not here"]
    return found


def test_the_report_has_losing_rows_goals_and_what_was_left_out() -> None:
    text = report.report(results(), ["a machine"])
    assert "| TensorZero | – | 90 (90..90) |" in text
    assert (
        "| CPU a request, saturated, µs: 30 x less than LiteLLM | 100 | 5,000 | 50.0 | yes |"
        in text
    )
    assert "| CPU a request, saturated, µs: at most TensorZero | 100 | 90 | 0.9 | **no** |" in text
    assert "LiteLLM did not get through rate 100: 76/s is its most." in text
    assert "Median of 2 rounds (smallest..largest)." in text
    assert "`portkey` left out" in text
    assert install.LITELLM in text
    # Latency is what is added to direct in the same round, not the latency itself.
    assert "0.10 (0.10..0.10) / 0.10 (0.10..0.10)" in text


def test_a_rival_who_does_not_get_through_has_a_row_among_the_goals() -> None:
    found = results()
    found.figures = [
        figure for figure in found.figures if (figure.row, figure.phase) != ("litellm", "rate 50")
    ]
    goals = report.goals(report.Figures(found))
    (lost,) = [goal for goal in goals if goal.theirs is None]
    assert "added p99" in lost.what
    assert "LiteLLM" in lost.what
    assert "| did not get through | – | yes |" in report.goals_table(goals)
    # Portkey was not there at all: it has none.
    assert not [goal for goal in goals if "Portkey" in goal.what]


def test_the_knee_is_the_median_of_the_best_number_of_callers() -> None:
    found = results()
    for number, rate in enumerate((5, 5000)):
        fast = replace(seen(1000, 10_000, 1.0), wall_s=1000 / rate)
        found.figures.append(Figure(number, "relay", "callers 1", 0.1, fast))
    # 2502 a second with one caller, not the 5000 of its better round; 1000 with sixteen.
    assert "| 2502 (5..5000) | 1000 (1000..1000) | – | 2502 (5..5000) |" in report.report(found, [])


def test_a_run_that_was_stopped_goes_on_behind_its_last_whole_round() -> None:
    stopped = results()
    stopped.plan = rounds.plan(False, ("direct",), 3)
    stopped.done = 1
    text = report.report(stopped, [])
    assert "Median of 1 round. Stopped before all 3 were done." in text
    again = rounds.Results.from_json(stopped.as_json())
    assert again.plan == stopped.plan
    assert {figure.round for figure in again.figures} == {0}
    assert again.figures == [figure for figure in stopped.figures if figure.round == 0]
    assert again.memory == stopped.memory


def test_slow_rows_get_fewer_requests_but_never_fewer_streams_at_once_or_a_shorter_open_loop() -> (
    None
):
    row = Row("slow", 1, weight=0.1)
    asked = {
        phase.name: (phase.requests, phase.job(row, seed=1).requests)
        for phase in rounds.plan(False, ("direct",), 5).phases
    }
    for name, (whole, given) in asked.items():
        same = name.startswith("rate ") or name in ("first", "streams")
        assert given == (whole if same else whole // 10), name


def test_memory_and_start_stand_with_the_process_that_has_them() -> None:
    figures = report.Figures(results())
    assert figures.memory("relay", "after") == [60.0]
    assert figures.memory("litellm", "peak") == [352.0]
    assert figures.memory("tensorzero", "after") == []
    assert figures.start("relay") == [0.3, 0.4]


def test_plots_are_well_formed_and_keep_the_order_of_size() -> None:
    plots = report.plots(report.Figures(results()))
    assert set(plots) == {"cpu-request", "cpu-chunk", "memory", "added-p99"}
    for text in plots.values():
        ElementTree.fromstring(text)
    bars = svg.bars("t", "µs", {"small": 1.0, "large": 1000.0, "middle": 30.0}, {})
    widths = [
        float(each.attrib["width"])
        for each in ElementTree.fromstring(bars).iter("{http://www.w3.org/2000/svg}rect")
        if "x" in each.attrib
    ]
    assert widths[0] < widths[2] < widths[1]


def test_prompt_path_and_headers_of_a_peer_are_in_the_request() -> None:
    row = Row("x", 1, path="/other", headers="X-One: 1\r\n", weight=0.1)
    phase = Phase("p", "oneshot", 1000, 16, warmup=100, prompt_chars=10_000)
    job = phase.job(row, seed=1)
    assert (job.requests, job.warmup, job.prompt_chars) == (100, 10, 10_000)
    request = job.request("hello")
    assert request.startswith(b"POST /other HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-One: 1\r\n")
    assert Job(1, "openai", "m", 1, 1).request("x").startswith(b"POST /v1/chat/completions ")


def test_a_peer_that_cannot_be_had_is_told_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AbsentError, match="portkey: node and npm are not here"):
        starts.start_portkey(Stage(tmp_path, 1, None))
    with pytest.raises(AbsentError, match="litellm: its package could not be installed"):
        install.python_peer("litellm", "./nothing-of-that-name", lambda text: None)


def test_every_phase_asks_a_script_that_every_peer_was_given() -> None:
    for quick in (True, False):
        for phase in rounds.plan(quick, ("direct",), 5).phases:
            assert phase.script in starts.SCRIPTS


@pytest.mark.slow
def test_memory_of_open_streams_is_read_while_they_are_open(tmp_path: Path) -> None:
    with upstream(tmp_path) as port:
        assert open_streams.each("relay", 100, port, tmp_path) > 5_000


@pytest.mark.slow
def test_a_short_run_measures_first_tokens_prompts_rates_and_memory() -> None:
    phases = (
        Phase("callers 16", "oneshot", 60, 4, warmup=5),
        Phase("prompt 100 KB", "oneshot", 10, 2, prompt_chars=100_000),
        Phase("rate 50", "oneshot", 20, 2, rate=50),
        Phase("rate 500", "oneshot", 20, 2, rate=1e9),
        Phase("first", "chunks-16-10ms", 4, 2, stream=True, rate=20),
    )
    plan = rounds.Plan(1, phases, 50, ("direct", "proxy"))
    found, kept = rounds.Results(plan), []
    rounds.measure(found, lambda text: None, lambda now: kept.append(now.done), 600)
    # Both subjects' memory, then the round.
    assert kept == [0, 0, 1]

    rows = {(figure.row, figure.phase): figure for figure in found.figures}
    assert {phase for _, phase in rows} == {"callers 16", "prompt 100 KB", "rate 50", "first"}
    first = rows["proxy", "first"].seen
    # The first token comes long before the last.
    assert first.first_ms[-1] < first.latency_ms[0]
    assert found.memory["proxy"].peak >= found.memory["proxy"].idle > 10_000_000
    assert "rate 500" in found.cannot["proxy"][0]
    assert "### CPU" in report.report(found, [])

    # What is whole is not measured again, and there is no time for the next round.
    more = rounds.Results.from_json(found.as_json())
    more.plan = rounds.Plan(2, phases, 50, ("direct", "proxy"))
    rounds.measure(more, lambda text: None, lambda now: kept.append(now.done), -1)
    assert (more.done, more.figures) == (1, found.figures)
    assert "1 rounds of 2: there was no time for more." in more.notes
