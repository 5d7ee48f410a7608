"""The table says what was measured, the broken promises too."""

from pathlib import Path

import pytest

from bench import table, workers
from bench.job import Seen
from bench.measure import Figure, Plan, Results, phases
from bench.peers import __main__ as peers


def figure(number: int, row: str, phase: str, cpu_s: float | None, latency: float = 1.0) -> Figure:
    seen = Seen(
        requests=1000,
        chunks=10_000,
        body_bytes=0,
        wall_s=2.0,
        load_cpu_s=0.1,
        latency_ms=[latency] * 99 + [latency * 10],
        late_ms=[0.1] * 100 if phase == "open" else [],
    )
    return Figure(number, row, phase, cpu_s, seen)


def results() -> Results:
    """Three rounds; the machine is twice as slow in the second, for all alike."""
    found = Results(Plan(phases(quick=False), 3, 10_000, 20_000))
    for number, slow in enumerate((1.0, 2.0, 1.0)):
        for row, cost in (("proxy", 0.1), ("named", 0.15), ("relay", 0.2), ("auto", 0.9)):
            for phase in ("saturated", "open", "streams", "burst"):
                found.figures.append(figure(number, row, phase, cost * slow, latency=1.5 * slow))
        found.figures.append(figure(number, "direct", "open", None, latency=1.0 * slow))
    found.starts_s["gateway"] = [0.9, 1.6, 1.0]
    found.memory_bytes["named"] = (130_000_000, 131_500_000)
    found.notes.append("nginx: no such program here")
    return found


def test_a_ratio_is_taken_within_each_round() -> None:
    per_request = table.limits(results())[0]
    assert per_request.values == pytest.approx([1.5, 1.5, 1.5])
    assert per_request.is_met


def test_each_promise_is_held_against_its_limit() -> None:
    met = {limit.what: limit.is_met for limit in table.limits(results())}
    assert met == {
        "CPU per request, `named` / bare proxy": True,
        "CPU per request, `relay` / bare proxy": False,
        "CPU per chunk at 100 streams, `named` / bare proxy": True,
        "CPU per chunk at 100 streams, `relay` / bare proxy": False,
        "CPU per request, `auto` less `named`": False,
        "resident memory after 10,000 requests": False,
        "from exec to ready": True,
    }


def test_the_report_shows_medians_ranges_and_what_was_left_out() -> None:
    text = table.report(results(), ["one machine"])
    assert "- one machine\n" in text
    assert "| bare aiohttp + uvloop proxy | 100 (100..200) | 500 (500..500) |" in text
    assert "| 0.50 (0.50..1.00) | 0.50 (0.50..1.00) | 10.0 (10.0..20.0) |" in text
    assert "| `auto` less `named`" not in text
    assert "| CPU per request, `auto` less `named` | 750 (750..1500) µs | 700 µs | **no** |" in text
    assert "| 130 | +1.5 |" in text
    assert "- nginx: no such program here" in text
    rows = [line for line in text.splitlines() if line.startswith("| gateway")]
    assert {line.count("|") for line in rows} == {12}


def test_what_was_not_measured_is_a_dash_and_no_promise() -> None:
    bare = Results(Plan(phases(quick=True), 1, 0, 0))
    bare.figures.append(figure(0, "proxy", "saturated", 0.1))
    assert table.limits(bare) == []
    assert (
        "| bare aiohttp + uvloop proxy | 100 | 500 | – | – | – | – | – | – | – | – |"
        in table.report(bare, [])
    )


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 101)]
    assert table.percentile(values, 0.50) == 50
    assert table.percentile(values, 0.99) == 99
    assert table.percentile([7.0], 0.99) == 7
    assert table.percentile([1.0, 2.0], 0.5) == 1


def test_what_two_workers_bring_is_reckoned_by_what_a_request_costs() -> None:
    found = {1: [(200.0, 4000.0), (220.0, 4100.0)], 2: [(200.0, 6000.0), (275.0, 5000.0)]}
    assert workers.scaling(found, 2) == pytest.approx((2.0 + 1.6) / 2)
    text = workers.report(found, ["a machine"])
    assert "| 2 | 238 | 5500 | 1.80 |" in text
    assert text.endswith("At least 1.8 times with 2: yes.")
    found[2][0] = (250.0, 4800.0)
    assert workers.report(found, []).endswith("At least 1.8 times with 2: **no**.")


def test_only_what_stands_between_the_markers_is_replaced(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    begin, end = table.MARKERS
    readme.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    table.write_between_markers(readme, "new")
    table.write_between_markers(readme, "newer")
    assert readme.read_text() == f"before\n{begin}\n\nnewer\n\n{end}\nafter\n"


def test_a_readme_without_its_markers_is_left_alone(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.MARKERS[0]}\n")
    with pytest.raises(ValueError, match="must be in it"):
        table.write_between_markers(readme, "new")
    assert readme.read_text() == f"before\n{table.MARKERS[0]}\n"


def test_the_readme_of_the_bench_has_its_markers() -> None:
    text = (Path(table.__file__).parent / "README.md").read_text()
    for begin, end in (table.MARKERS, workers.MARKERS, peers.MARKERS):
        assert text.index(begin) < text.index(end)
