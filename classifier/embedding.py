"""The static token embedding that ships inside the `wordllama` package.

We open its safetensors file and its tokenizer directly: `WordLlama.load()` may look in the wrong
folder and then tries the network. The package itself is never imported, so its version says
nothing: the files' digests do.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer

PACKAGE = "wordllama"
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
DIMENSIONS = 256


class EmbeddingMissing(RuntimeError):
    """The package that carries the embedding, or one of its files, is not there."""


# Words whose tokens are remembered, in a process; a word of more letters is not worth the room.
MOST_WORDS, LONGEST_WORD = 30_000, 24
# What the tokenizer finds before it looks at words.
SPECIAL = ("<s>", "</s>", "<unk>")
_TOKEN = np.dtype(np.int64).itemsize
# A single space, which belongs to no word, or where a line ends.
_BETWEEN = re.compile(r"(?<! ) (?! )|(?=\n)")


@dataclass(frozen=True)
class Embedding:
    """A tokenizer and one float32 row for each of its tokens."""

    tokenizer: Tokenizer
    table: NDArray[np.float32]
    known: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    def tokens(self, text: str) -> NDArray[np.int64]:
        """Token ids of a text, without special tokens; shape (n,), n may be 0.

        No token of this vocabulary reaches over a single space or the end of a line, so a text has
        the tokens of its words, and those of common words are remembered, as the bytes of the array
        that they are a part of. The end of a line begins a word; between a space and it there is
        an empty one. A test holds both ways equal, for texts without a space at either end.
        """
        if "<" in text and any(name in text for name in SPECIAL):
            return np.frombuffer(self._encoded(text), dtype=np.int64)
        if "  " in text:
            words = _BETWEEN.split(text)
        else:
            words = (text.replace("\n", " \n") if "\n" in text else text).split(" ")
        try:
            if len(words) > 1:
                found = b"".join(itemgetter(*words)(self.known))
            else:
                found = self.known[text] if text else b""
        except KeyError:
            found = b"".join(map(self._of_word, words))
        return np.frombuffer(found, dtype=np.int64)

    def _of_word(self, word: str) -> bytes:
        """The tokens of a word, remembered unless it is long."""
        found = self.known.get(word)
        if found is None:
            found = self._tokens_of(word)
            if len(word) <= LONGEST_WORD:
                if len(self.known) >= MOST_WORDS:
                    # Most of so many came once and never again; what is common is soon back. A
                    # memory that stayed full of them would make each prompt twice as dear.
                    self.known.clear()
                self.known[word] = found
        return found

    def _tokens_of(self, word: str) -> bytes:
        """A word's first token has the space before it. A new line has none, an empty word it
        alone."""
        if not word:
            return self._encoded("\n")[:_TOKEN]
        return self._encoded(word)[_TOKEN if word[0] == "\n" else 0 :]

    def _encoded(self, text: str) -> bytes:
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return np.array(ids, dtype=np.int64).tobytes()


def files() -> tuple[Path, Path]:
    """The weights and the tokenizer inside the installed package."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddingMissing(
            f"The package {PACKAGE!r}, which carries the embedding, is not installed. "
            "Run `make install`."
        )
    folder = Path(spec.submodule_search_locations[0])
    weights, tokenizer = folder / WEIGHTS, folder / TOKENIZER
    for path in (weights, tokenizer):
        if not path.is_file():
            raise EmbeddingMissing(
                f"{PACKAGE} lacks {path.relative_to(folder)}; install the locked version."
            )
    return weights, tokenizer


@lru_cache(maxsize=1)
def digests() -> dict[str, str]:
    """sha256 of each file, under its path inside the package."""
    weights, tokenizer = (path.read_bytes() for path in files())
    # Releases of the package differ in whether a newline ends the JSON: with one, it is the same.
    whole = tokenizer.rstrip(b"\n") + b"\n"
    return {
        WEIGHTS: hashlib.sha256(weights).hexdigest(),
        TOKENIZER: hashlib.sha256(whole).hexdigest(),
    }


@lru_cache(maxsize=1)
def load() -> Embedding:
    """The embedding, read once a process."""
    weights, tokenizer_file = files()
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with safe_open(str(weights), framework="numpy") as opened:
        table = opened.get_tensor("embedding.weight").astype(np.float32)
    if table.shape != (tokenizer.get_vocab_size(), DIMENSIONS):
        raise EmbeddingMissing(
            f"{WEIGHTS} has the shape {table.shape}; install the locked version."
        )
    return Embedding(tokenizer, table)
