"""`make ollama` on machines that have an Ollama, lack a tool, or fail to build one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy import ollama


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
    assert ollama.main() == 0
    assert str(tools / "ollama") in capsys.readouterr().out


def test_what_is_missing_is_named(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool(tools, "gcc")
    assert ollama.main() == 1
    told = capsys.readouterr().err
    assert "Go 1.24" in told
    assert "C++" in told
    assert "a C compiler" not in told


def test_a_build_that_fails_shows_its_last_words_and_leaves_nothing(
    tools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_compilers(tools, '/bin/mkdir -p "$GOPATH/pkg"; echo "json.hpp: no such file"; exit 2')
    assert ollama.main() == 1
    assert "json.hpp: no such file" in capsys.readouterr().err
    assert not (tmp_path / "var/ollama/go").exists()


def test_what_is_built_is_found_again(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_compilers(tools, '/bin/mkdir -p "$GOBIN"; echo "$@" > "$GOBIN/ollama"')
    assert ollama.main() == 0
    assert ollama.BINARY.read_text(encoding="utf-8") == f"install {ollama.MODULE}\n"
    assert ollama.main() == 0
    assert "There is an Ollama" in capsys.readouterr().out
    assert os.fspath(ollama.BINARY) == "var/ollama/bin/ollama"


def test_a_build_that_takes_too_long_is_given_up(tools: Path) -> None:
    with_compilers(tools, "exec /bin/sleep 20")
    with pytest.raises(ollama.CannotBuild, match="took more than"):
        ollama.build(limit_s=0.3)
