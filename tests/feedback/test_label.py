"""`python -m gateway feedback label`: both models are asked by way of the gateway, graded, and
written down as training reads it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from classifier import own_labels
from gateway.feedback import grade
from tests.accounts.processes import ROOT, environment
from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_error

TOKEN = ADMIN["Authorization"].removeprefix("Bearer ")
JSON = "application/json"


@pytest.mark.parametrize(
    ("answer", "right", "score"),
    [
        ("The answer is (B).", "B", 1),
        ("A is tempting, but the answer is **C**", "B", 0),
        ("b", "B", 0),
        ("It cannot be A, so: D", "D", 1),
        ("I think not", "A", 0),
        ("3 apples and 4 pears make 7.", "7", 1),
        ("#### 1,234.50 of 9", "1234.5", 1),
        ("so \\boxed{42}, which is 6 times 7", "42", 1),
        ("It is 41.", "42", 0),
        ("none", "42", 0),
        ("Paris.", "paris", 1),
        ("Let me see.\nParis", "Paris", 1),
        ("Not Paris but Rome", "Paris", 0),
        ("", "Paris", 0),
    ],
)
def test_what_is_known_is_checked_exactly(answer: str, right: str, score: int) -> None:
    assert grade.exact(answer, right) == score


@pytest.mark.parametrize(
    ("said", "score"),
    [('{"score": 8}', 0.8), ('```json\n{"score": 10}\n```', 1.0), ('{"score": 0}', 0.0)],
)
def test_a_judges_grade_is_read(said: str, score: float) -> None:
    assert grade.grade(said) == score


@pytest.mark.parametrize("said", ["", "8", '{"score": 11}', '{"score": true}', '{"score": "x"}'])
def test_a_judge_who_gives_no_grade_is_told(said: str) -> None:
    with pytest.raises(grade.NoGradeError):
        grade.grade(said)


def play(text: str) -> Play:
    return Play(openai_body(text), content_type=JSON)


def given(weak: ReplayServer, strong: ReplayServer, judge: ReplayServer, **more: Any) -> Any:
    return settings(
        providers={
            "easy": openai_provider(weak.url),
            "hard": openai_provider(strong.url),
            "judge": openai_provider(judge.url),
        },
        attempts={"per_target": 1, "backoff_ms": 1},
        cooldown={"failures": 1000},
        **more,
    )


async def labelled(
    folder: Path, gateway: Running, *arguments: str, token: str = TOKEN
) -> tuple[int, str, list[dict[str, Any]]]:
    """The command as a person runs it: its code, its words, and what the file has."""
    config, out = folder / "gateway.toml", folder / "labels.jsonl"
    config.write_text('[routes.auto]\nlocal = ["easy/m"]\nstrong = ["hard/m"]\n')
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "--config", str(config), "feedback", "label"),
        *("--url", gateway.url, "--out", str(out), *arguments),
        cwd=ROOT,
        env=environment(ADMIN_TOKEN=token),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    rows = [orjson.loads(line) for line in out.read_bytes().splitlines()] if out.exists() else []
    assert child.returncode is not None
    return child.returncode, said.decode(), rows


def questions(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "questions.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


async def test_known_answers_are_checked_and_training_reads_what_is_written(
    tmp_path: Path,
) -> None:
    async with (
        ReplayServer(play("The answer is 4")) as weak,
        ReplayServer(play("The answer is 5")) as strong,
        ReplayServer(play("")) as judge,
        running(given(weak, strong, judge)) as gateway,
    ):
        source = questions(tmp_path, *({"prompt": f"2 + 3, {n}?", "answer": 5} for n in range(40)))
        code, said, rows = await labelled(tmp_path, gateway, "--from", source)
        assert code == 0, said
        assert "40 labelled" in said
        assert "hard/m: 1.000" in said
        assert all(row["scores"] == {"easy/m": 0.0, "hard/m": 1.0} for row in rows)
        assert len(weak.received) == len(strong.received) == 40
        assert judge.received == []
        read = own_labels.read(tmp_path / "labels.jsonl")
        assert (read.rows, read.distinct) == (40, 40)
        assert read.prompts[0].scores == {"easy/m": 0.0, "hard/m": 1.0}


async def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    async with (
        ReplayServer(play("5")) as weak,
        ReplayServer(play("5")) as strong,
        ReplayServer(play("")) as judge,
        running(given(weak, strong, judge)) as gateway,
    ):
        source = questions(tmp_path, *({"prompt": f"{n}?", "answer": "5"} for n in range(12)))
        await labelled(tmp_path, gateway, "--from", source, "--limit", "5")
        out = tmp_path / "labels.jsonl"
        # It was killed in the middle of a line.
        out.write_bytes(out.read_bytes() + b'{"prompt": "11?", "sco')
        code, said, rows = await labelled(tmp_path, gateway, "--from", source)
        assert code == 0, said
        assert "7 labelled, 5 were there already" in said
        assert sorted(row["prompt"] for row in rows) == sorted(f"{n}?" for n in range(12))
        assert len(weak.received) == 12


async def test_kept_prompts_are_graded_by_a_judge(tmp_path: Path) -> None:
    async with (
        ReplayServer(play("short")) as weak,
        ReplayServer(play("a better one")) as strong,
        ReplayServer(play('{"score": 3}'), play('{"score": 9}')) as judge,
        running(given(weak, strong, judge, feedback={"capture": True})) as gateway,
    ):
        await gateway.complete(message="Why is the sky blue?", stream=False)
        asked = len(weak.received) + len(strong.received)
        code, said, rows = await labelled(tmp_path, gateway, "--judge", "judge/m")
        assert code == 0, said
        assert rows == [
            {
                "prompt": "Why is the sky blue?",
                "scores": {"easy/m": 0.3, "hard/m": 0.9},
                "how": "judge",
                "judge": "judge/m",
            }
        ]
        assert len(weak.received) + len(strong.received) == asked + 2
        # The judge sees one answer, and what is in it is no order to him.
        told = orjson.loads(judge.received[0].body["messages"][-1]["content"])
        assert told == {"question": "Why is the sky blue?", "answer": "short"}


async def test_what_fails_is_counted_and_tried_by_the_next_run(tmp_path: Path) -> None:
    async with (
        ReplayServer(play("5")) as weak,
        ReplayServer(openai_error(400, "no such thing"), play("5")) as strong,
        ReplayServer(play("")) as judge,
        running(given(weak, strong, judge)) as gateway,
    ):
        source = questions(
            tmp_path, *({"prompt": f"{n}?", "answer": "5"} for n in range(4)), {"prompt": "open"}
        )
        code, said, rows = await labelled(tmp_path, gateway, "--from", source)
        assert code == 1
        assert "1 (hard/m: status 400)" in said
        assert "1 (no known answer and no judge)" in said
        assert len(rows) == 3
        code, said, rows = await labelled(tmp_path, gateway, "--from", source)
        assert "1 labelled, 3 were there already" in said
        assert len(rows) == 4


async def test_what_makes_no_sense_to_ask_ends_at_once(tmp_path: Path) -> None:
    async with (
        ReplayServer(play("5")) as weak,
        ReplayServer(play("5")) as strong,
        ReplayServer(play("")) as judge,
        running(given(weak, strong, judge)) as gateway,
    ):
        source = questions(tmp_path, *({"prompt": f"{n}?", "answer": "5"} for n in range(9)))
        for more, token, wanted in (
            (("--local", "nobody/m"), TOKEN, "nobody"),
            (("--local", "hard/m"), TOKEN, "two tiers"),
            (("--route", "none"), TOKEN, "no route 'none'"),
            ((), "pm-wrong", "401"),
            ((), "", "ADMIN_TOKEN is not set"),
        ):
            code, said, rows = await labelled(
                tmp_path, gateway, "--from", source, *more, token=token
            )
            assert code == 1, more
            assert wanted in said, said
            assert rows == []
            assert "Traceback" not in said
        bad = tmp_path / "bad.jsonl"
        bad.write_text('{"prompt": "x"}\n{"answer": 1}\n')
        code, said, _ = await labelled(tmp_path, gateway, "--from", str(bad))
        assert code == 1
        assert "line 2: 'prompt' is missing or empty" in said
