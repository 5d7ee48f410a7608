"""`make ollama` on machines that have an Ollama, lack a tool, or fail to build one; and what Go
builds without a C compiler."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.with_go import OLLAMA, CannotBuild, main


def tool(folder: Path, name: str, script: str = "") -> None:
    """A program on the PATH of the test."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH; the working folder is empty."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def with_compilers(tools: Path, go: str) -> None:
    for name in ("gcc", "g++"):
        tool(tools, name)
    tool(tools, "go", go)
    (tools / "nice").symlink_to("/usr/bin/nice")


def test_an_ollama_on_the_path_is_left_as_it_is(
    tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool(tools, "ollama")
    assert main(["ollama"]) == 0
    assert str(tools / "ollama") in capsys.readouterr().out


def test_what_is_missing_is_named(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(tools, "gcc")
    assert main(["ollama"]) == 1
    told = capsys.readouterr().err
    assert "Go 1.24" in told
    assert "C++" in told
    assert "a C compiler" not in told


def test_a_build_that_fails_shows_its_last_words_and_leaves_nothing(
    tools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_compilers(tools, '/bin/mkdir -p "$GOPATH/pkg"; echo "json.hpp: no such file"; exit 2')
    assert main(["ollama"]) == 1
    assert "json.hpp: no such file" in capsys.readouterr().err
    assert not (tmp_path / "var/ollama/go").exists()


def test_what_is_built_is_found_again(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_compilers(tools, '/bin/mkdir -p "$GOBIN"; echo "$@" > "$GOBIN/ollama"')
    assert main(["ollama"]) == 0
    assert OLLAMA.binary.read_text(encoding="utf-8") == f"install {OLLAMA.module}\n"
    assert main(["ollama"]) == 0
    assert "There is a program ollama" in capsys.readouterr().out
    assert os.fspath(OLLAMA.binary) == "var/ollama/bin/ollama"


def test_a_build_that_takes_too_long_is_given_up(tools: Path) -> None:
    with_compilers(tools, "exec /bin/sleep 20")
    with pytest.raises(CannotBuild, match="took more than"):
        OLLAMA.build(limit_s=0.3)


def test_a_program_of_go_alone_asks_for_no_c_compiler(
    tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool(tools, "go", '/bin/mkdir -p "$GOBIN"; echo "$CGO_ENABLED" > "$GOBIN/kubeconform"')
    (tools / "nice").symlink_to("/usr/bin/nice")
    assert main(["kubeconform"]) == 0
    assert Path("var/kubeconform/bin/kubeconform").read_text(encoding="utf-8") == "0\n"


@pytest.mark.parametrize("names", [[], ["grafana"], ["ollama", "kubeconform"]])
def test_another_name_is_refused_with_those_that_are_known(
    names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(names) == 2
    assert "ollama, kubeconform" in capsys.readouterr().err
