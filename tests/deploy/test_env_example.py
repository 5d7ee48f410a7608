"""`.env.example` names every variable that the code reads, each with a comment."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

from dotenv import dotenv_values

from gateway.settings_file import ENVIRONMENT

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / ".env.example"
LINE = re.compile(r"^#?([A-Z][A-Z0-9_]*)=", re.M)
# Written by the classifier's master for its own workers, never by a person.
INTERNAL = {"CLASSIFIER_METRICS_OF"}
READ = re.compile(r"""["']((?:LOCAL|CLASSIFIER)_[A-Z_]+)["']""")


def listed() -> list[str]:
    return LINE.findall(EXAMPLE.read_text())


def test_each_variable_stands_there_once() -> None:
    assert sorted(listed()) == sorted(set(listed()))


def test_every_variable_of_the_catalogue_and_the_services_is_listed() -> None:
    names = set(ENVIRONMENT)
    for row in tomllib.loads((ROOT / "providers" / "catalog.toml").read_text()).values():
        keys = row.get("key_env", [])
        names |= {row.get("base_url_env"), row.get("default_model_env"), *keys} - {None}
    for folder in ("local", "deploy", "classifier", "gateway"):
        for source in (ROOT / folder).rglob("*.py"):
            names |= set(READ.findall(source.read_text()))

    assert names - set(listed()) - INTERNAL == set()


def test_every_variable_has_a_comment_above_it() -> None:
    lines = EXAMPLE.read_text().splitlines()
    bare = [
        line for above, line in pairwise(lines) if LINE.match(line) and not above.startswith("# ")
    ]

    assert bare == []


def test_every_line_loads_when_it_is_used(tmp_path: Path) -> None:
    used = tmp_path / ".env"
    used.write_text(re.sub(r"^#(?=[A-Z])", "", EXAMPLE.read_text(), flags=re.M))
    values = dotenv_values(used)

    assert set(values) == set(listed())
    # `docker run --env-file` would take a comment behind a value for a part of it.
    assert not [name for name, value in values.items() if value and re.search(r"[#\s]", value)]


def test_a_copy_of_it_holds_no_key_and_no_address() -> None:
    assert set(dotenv_values(EXAMPLE)) == {
        "OPENAI_MODEL_DEFAULT",
        "ANTHROPIC_MODEL_DEFAULT",
        "GEMINI_MODEL_DEFAULT",
    }
