"""gateway.toml and the environment: whole, or an error that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import SettingsError
from gateway.settings_file import DEFAULT_ROUTE, load
from providers.registry import CatalogError, rows


def written(path: Path, text: str) -> Path:
    file = path / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_a_file_the_defaults_hold() -> None:
    settings = load(None, {})
    assert settings.server.port == 8080
    assert settings.server.host == "127.0.0.1"
    assert settings.routes["auto"] == DEFAULT_ROUTE


def test_the_file_of_the_repository_says_the_defaults() -> None:
    root = Path(__file__).parents[2]
    assert load(root / "gateway.toml", {}) == load(None, {})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "[server]\nport = 1234\n")
    assert load(file, {}).server.port == 1234
    assert load(file, {"PORT": "4321", "CLASSIFIER_URL": "http://x"}).server.port == 4321


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nport = 99999\n", "server.port"),
        ("[server]\nprot = 1\n", "server.prot"),
        ("[sever]\n", "sever"),
        ('[classifier]\non_failure = "hope"\n', "classifier.on_failure"),
        ("[routes.auto]\nthreshold = 2\n", "routes.auto.threshold"),
        ('[attempts]\nidle_s = "long"\n', "attempts.idle_s"),
        ("[attempts\n", "gateway.toml"),
        ('[classifier]\nurl = "${NOWHERE}"\n', "NOWHERE"),
    ],
)
def test_a_wrong_file_says_what_and_where(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(written(tmp_path, text), {})


def test_an_error_never_quotes_a_value_that_may_be_a_key(tmp_path: Path) -> None:
    file = written(tmp_path, '[server]\nport = "sk-secret"\n')
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    assert "sk-secret" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load(tmp_path / "none.toml", {})


def test_values_are_filled_from_the_environment(tmp_path: Path) -> None:
    file = written(tmp_path, '[providers.together]\napi_key = "${TOGETHER}"\n')
    assert load(file, {"TOGETHER": "k"}).providers["together"]["api_key"] == "k"
    assert load(file, {}).providers["together"]["api_key"] == ""


def test_a_provider_is_on_with_its_key_and_off_without() -> None:
    on, off = rows({}, {"OPENAI_API_KEY": "sk-1"})
    assert {row.name for row in on} == {"openai", "ollama"}
    why = {row.name: row.why for row in off}
    assert why["anthropic"] == "ANTHROPIC_API_KEY is not set"
    assert why["gemini"] == "GEMINI_API_KEY or GOOGLE_API_KEY is not set"
    assert why["local"] == "LOCAL_BASE_URL is not set"


def test_every_row_of_the_catalogue_can_be_turned_on() -> None:
    keys = ("OPENAI", "ANTHROPIC", "GEMINI", "TOGETHER_AI", "A4F", "GROQ", "OPENROUTER")
    environment = {f"{name}_API_KEY": "x" for name in keys}
    for name in ("VLLM_BASE_URL", "LLAMACPP_BASE_URL", "LOCAL_BASE_URL"):
        environment[name] = "http://127.0.0.1:9"
    on, off = rows({}, environment)
    assert not off
    assert len(on) == 11


def test_a_key_never_shows_in_a_rows_repr() -> None:
    on, _ = rows({}, {"OPENAI_API_KEY": "sk-very-secret"})
    assert "sk-very-secret" not in repr(on)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"lab": {"kind": "openai", "base_ulr": "x"}}, "providers.lab.base_ulr"),
        ({"lab": {"kind": "latin", "base_url": "http://x"}}, "providers.lab.kind"),
        ({"lab": {"kind": "openai", "base_url": "ftp://x"}}, "providers.lab.base_url"),
        ({"La/b": {"kind": "openai"}}, "La/b"),
    ],
)
def test_a_row_that_cannot_be_names_the_field(row: dict[str, dict[str, str]], words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        rows(row, {})


def test_a_models_default_comes_from_seed_001s_variables() -> None:
    on, _ = rows({}, {"OPENAI_API_KEY": "k", "OPENAI_MODEL_DEFAULT": "gpt-9"})
    assert {row.name: row.default_model for row in on}["openai"] == "gpt-9"
