"""`python -m classifier`: one process from the shell."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.classifier.service import ROOT, environment


def command(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "classifier", *words),
        cwd=ROOT,
        env=environment(0, extra),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_one_prompt_is_classified_from_the_shell() -> None:
    done = command("classify", "Name three colours.")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tier"] == "local"


def test_an_empty_prompt_is_refused_from_the_shell() -> None:
    assert command("classify", " ").returncode == 2


def test_a_missing_artefact_is_said_in_one_line() -> None:
    done = command("classify", "Hi", CLASSIFIER_ARTEFACT="nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "card.json is missing" in done.stderr


def test_serving_does_not_import_scikit_learn() -> None:
    code = "import sys, classifier.app as a; a.prepared(); print('sklearn' in sys.modules)"
    done = subprocess.run(
        (sys.executable, "-c", code), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
