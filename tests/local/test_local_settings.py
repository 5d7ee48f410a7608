from pathlib import Path

import pytest

from local.settings import Settings, SettingsError
from local.weights import WeightsError, choose


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environment({"LOCAL_PORT": "", "LOCAL_MODEL_PATH": " "})

    assert (settings.host, settings.port) == ("127.0.0.1", 8090)
    assert (settings.context, settings.parallel) == (4096, 2)
    assert settings.threads >= 1
    assert settings.model_path is None
    assert not settings.debug


def test_the_environment_wins() -> None:
    settings = Settings.from_environment(
        {
            "LOCAL_HOST": "0.0.0.0",
            "LOCAL_PORT": "9001",
            "LOCAL_THREADS": "3",
            "LOCAL_CONTEXT": "1024",
            "LOCAL_PARALLEL": "1",
            "LOCAL_MODEL_PATH": "/models/other.gguf",
            "DEBUG_MODE": "true",
        }
    )

    other = Path("/models/other.gguf")
    assert settings == Settings("0.0.0.0", 9001, 3, 1024, 1, other, debug=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCAL_PORT", "http"),
        ("LOCAL_PORT", "70000"),
        ("LOCAL_THREADS", "0"),
        ("LOCAL_CONTEXT", "4k"),
        ("LOCAL_PARALLEL", "-1"),
    ],
)
def test_a_wrong_number_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: value})


def test_a_model_path_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="LOCAL_MODEL_PATH"):
        choose(tmp_path / "absent.gguf")
