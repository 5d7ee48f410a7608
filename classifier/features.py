"""What the model sees of a prompt: its surface and its tokens, both without regard to case.

One function serves training and serving, so both see the same numbers to the last bit. Case is
folded before anything is counted: who writes in capitals asks nothing else.
"""

from __future__ import annotations

import re
from math import log1p
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier.embedding import Embedding

HEAD, TAIL = 1400, 600
LONGEST = HEAD + TAIL
VOCABULARY = 32_000
# Of a word, and of words of one kind: more tells nothing more.
MOST_LETTERS, MOST_TOKENS, MOST_TELLING = 20.0, 20.0, 5.0

OPTION = re.compile(r"\n\(?[a-j][.):]")
# Over bytes: as a table of 256 it costs a tenth of what str.translate does.
_MARKS = b".,;:!?\"'`()[]{}<>*/+=|\\~^%$#@&-_\n\t"
PUNCTUATION = bytes.maketrans(_MARKS, b" " * len(_MARKS))
# All but digits become spaces, so that what is left are numbers.
_NUMBERS = bytes(byte if byte in b"0123456789" else 32 for byte in range(256))

# Bytes of UTF-8, counted in classes. A lead byte tells the script closely enough.
_BYTE_CLASSES: dict[str, bytes | range] = {
    "digit": b"0123456789",
    "letter": b"abcdefghijklmnopqrstuvwxyz",
    "space": b" \t\r",
    "newline": b"\n",
    "stop": b".",
    "comma": b",;:",
    "question": b"?",
    "exclaim": b"!",
    "quote": b"\"'",
    "round": b"()",
    "bracket": b"[]{}<>",
    "operator": b"+-*/=^%",
    "dollar": b"$",
    "backslash": b"\\",
    "underscore": b"_#|@&~",
    "backtick": b"`",
    "latin": range(0xC2, 0xCA),
    "greek": range(0xCA, 0xD0),
    "cyrillic": range(0xD0, 0xD4),
    "right_to_left": range(0xD4, 0xE0),
    "indic": range(0xE0, 0xE3),
    "han": range(0xE3, 0xEA),
    "hangul": range(0xEA, 0xF0),
    "emoji": range(0xF0, 0xF8),
    "control": bytes([*range(0, 9), 11, 12, *range(14, 32), 127]),
}

_WORDS: dict[str, str] = {
    "asks": "what which who whom whose when where why how",
    "why": "why how explain because reason",
    "simple": "hi hello hey thanks thank please name list capital what's define meaning synonym "
    "opposite favorite favourite color colour joke spell translate good morning say",
    "code": "def function class return int print python javascript typescript java rust go sql "
    "code bug compile string array regex html css api json algorithm thread async pointer "
    "import const var struct query script docker bash assert loop",
    "maths": "integral derivative equation polynomial matrix theorem lemma prime integer sum "
    "probability triangle modulo sqrt frac equals calculate compute solve x y n remainder",
    "proof": "prove proof derive disprove rigorous rigorously formally induction contradiction "
    "theorem lemma bijection hence converge converges corollary",
    "deep": "analyse analyze analysis compare contrast evaluate critique design architecture "
    "tradeoffs trade-offs implement optimise optimize debug diagnose justify jurisdiction "
    "liability statute implications strategy distributed concurrency concurrent race deadlock "
    "complexity constraints comprehensive detailed",
    "writing": "write poem story essay email letter draft haiku song lyrics rewrite rephrase tone "
    "paragraph tweet slogan speech novel blog",
    "extract": "extract summarize summarise summary classify json list following text table "
    "sentence passage article translate convert",
    "negated": "not except least incorrect false never none no cannot without",
    "steps": "step steps first then finally each every if after before total many much twice half",
    "person": "he she his her they their him you your i my me we us",
    "options": "following statements statement correct true best answer most likely",
}
_SETS_OF: dict[str, list[int]] = {}
for _i, _words in enumerate(_WORDS.values()):
    for _word in set(_words.split()):
        _SETS_OF.setdefault(_word, []).append(_i)
_TELLING = frozenset(_SETS_OF)

SURFACE_NAMES: tuple[str, ...] = (
    "log_characters",
    "log_words",
    "log_lines",
    "log_options",
    "log_numbers",
    "log_questions",
    "log_sentences",
    "letters_per_word",
    "distinct_words",
    "fences",
    "tokens_per_character",
    "tokens_per_word",
    "ends_in_colon",
    "ends_in_question",
    *(f"share_{name}" for name in _BYTE_CLASSES),
    *(f"words_{name}" for name in _WORDS),
)


def _classes_of_bytes() -> bytes:
    """The class of each byte, as a table for bytes.translate; the last one for all others."""
    table = bytearray([len(_BYTE_CLASSES)] * 256)
    for place, members in enumerate(_BYTE_CLASSES.values()):
        for byte in members:
            table[byte] = place
    return bytes(table)


_CLASSES = _classes_of_bytes()
_CLASS = {name: i for i, name in enumerate(_BYTE_CLASSES)}
_NEWLINE, _STOP, _QUESTION = _CLASS["newline"], _CLASS["stop"], _CLASS["question"]
_LETTER, _DIGIT, _BACKTICK = _CLASS["letter"], _CLASS["digit"], _CLASS["backtick"]
_NO_WORDS = [0.0] * len(_WORDS)
_DOUBLES = Struct(f"{len(SURFACE_NAMES)}d")


class Features(NamedTuple):
    """One prompt as numbers.

    surface: float64 (len(SURFACE_NAMES),); rows: int64 (k,), token ids in the order of the text;
    options: number of answer options seen.
    """

    surface: NDArray[np.float64]
    rows: NDArray[np.int64]
    options: int


def bounded(text: str) -> str:
    """At most 2,000 characters: the head says what is asked, the tail often asks it."""
    text = text.strip()
    if len(text) > LONGEST:
        text = text[:HEAD] + text[-TAIL:]
    # The tokenizer takes no lone surrogate; JSON cannot carry one, a shell's argument can.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def extract(text: str, embedding: Embedding) -> Features:
    """The features of one prompt, whatever it is made of."""
    lower = bounded(text).lower()
    tokens = embedding.tokens(lower)
    options = len(OPTION.findall(lower)) if "\n" in lower else 0
    return Features(_surface(lower, tokens.size, options), tokens, options)


def _surface(text: str, tokens: int, options: int) -> NDArray[np.float64]:
    """The surface of a text in lower case: in plain Python, for of so few numbers each call of
    numpy costs more than it saves."""
    raw = text.encode("utf-8", "replace")
    classes = np.frombuffer(raw.translate(_CLASSES), np.uint8)
    counts = np.bincount(classes, None, len(_BYTE_CLASSES) + 1).tolist()[: len(_BYTE_CLASSES)]
    characters = len(text) or 1
    found = raw.translate(PUNCTUATION).decode().split()
    words = len(found) or 1
    distinct = set(found)
    long, many = counts[_LETTER] / words, tokens / words
    row = [
        log1p(characters),
        log1p(words),
        log1p(counts[_NEWLINE]),
        log1p(options),
        log1p(len(raw.translate(_NUMBERS).split())) if counts[_DIGIT] else 0.0,
        log1p(counts[_QUESTION]),
        log1p(counts[_STOP]),
        long if long < MOST_LETTERS else MOST_LETTERS,
        len(distinct) / words,
        min(text.count("```"), 4) if counts[_BACKTICK] > 2 else 0.0,
        tokens / characters,
        many if many < MOST_TOKENS else MOST_TOKENS,
        text[-1:] == ":",
        text[-1:] == "?",
    ]
    row += [count / characters for count in counts]
    telling = _NO_WORDS.copy()
    for word in distinct & _TELLING:
        for i in _SETS_OF[word]:
            if telling[i] < MOST_TELLING:
                telling[i] += 1.0
    row += telling
    return np.frombuffer(_DOUBLES.pack(*row))
