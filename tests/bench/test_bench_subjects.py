"""Each subject starts, passes on what the upstream says, and ends."""

from pathlib import Path

import orjson
import pytest

from bench.job import Job
from bench.measure import Plan, measure, phases, run_job
from bench.procs import cpu_seconds, post, tree
from bench.subjects import SUBJECTS, AbsentError, Stage, gateway_config
from gateway.settings_file import load


@pytest.mark.parametrize("name", ["nginx", "proxy"])
def test_a_proxy_passes_on_what_the_upstream_says(name: str, upstream: int, tmp_path: Path) -> None:
    try:
        subject = SUBJECTS[name](Stage(tmp_path, upstream, None))
    except AbsentError as missing:
        pytest.skip(str(missing))
    try:
        row = subject.rows[0]
        for body in (
            {"model": "oneshot"},
            {"model": "burst-100", "stream": True},
            {"model": "unheard-of"},
        ):
            asked = orjson.dumps(body)
            path = "/v1/chat/completions"
            status, headers, said = post(f"http://127.0.0.1:{row.port}{path}", asked)
            direct = post(f"http://127.0.0.1:{upstream}{path}", asked)
            assert (status, said) == (direct[0], direct[2])
            assert headers["Content-Type"].split(";")[0] == direct[1]["Content-Type"].split(";")[0]
        job = Job(row.port, "openai", "burst-64", 64, requests=20, callers=4, stream=True)
        seen, cpu_s = run_job(job, row.roots, tmp_path)
        assert seen.chunks == 20 * 64
        assert cpu_s is not None
        assert 0 < cpu_s <= cpu_seconds(*row.roots)
    finally:
        subject.stop()
    assert not [pid for pid in row.roots if tree(pid)]


def test_the_gateway_reads_the_file_that_the_bench_writes(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(gateway_config(port=18080, classifier_port=18000, upstream_port=19000))
    settings = load(path, {})
    assert settings.server.port == 18080
    assert settings.classifier.url == "http://127.0.0.1:18000"
    assert settings.providers["bench"]["base_url"] == "http://127.0.0.1:19000/v1"
    assert settings.routes["auto"].local == ("bench/oneshot",)


def test_a_round_gives_every_row_a_figure_for_every_phase() -> None:
    short = tuple(phase for phase in phases(quick=True) if phase.name in ("saturated", "burst"))
    said: list[str] = []
    results = measure(Plan(short, 1, 200, 100, ("direct", "proxy")), said.append)
    assert {(figure.row, figure.phase) for figure in results.figures} == {
        (row, phase) for row in ("direct", "proxy") for phase in ("saturated", "burst")
    }
    assert all((figure.cpu_s is None) == (figure.row == "direct") for figure in results.figures)
    assert set(results.starts_s) == set(results.memory_bytes) == {"proxy"}
    assert orjson.loads(results.as_json())["figures"][0]["seen"]["requests"] == 800
    assert said
