"""Labelled prompts: read, mapped to a kind of work, and split by content.

The same question stands in several sources, so a split is made by `group_id` alone: a hash of
the normalised prompt. Where the licence does not allow it, a file never trains what we ship.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import word_problems
from classifier.domains import domain_of

PROMPTS = Path(__file__).parent / "prompts"
OWN = "own"
HELD_OUT_FIFTHS = 1

# GSM8K and its translations stay unseen: the shipped artefact's figure on them is zero-shot.
WITHHELD = frozenset({"gsm8k", "agentverse-mgsm"})

# Which models stand for the two tiers where a source has scored many. A small model is one of
# 2 to 9 billion parameters (or the weaker of a published pair), a strong one a frontier model.
TIERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "routellm_mmlu1531.parquet": (("mixtral-8x7b-instruct-v0.1",), ("gpt-4-1106-preview",)),
    "routerbench.parquet": (("mistral-7b-chat", "mixtral-8x7b-chat"), ("gpt-4-1106-preview",)),
    "mmlu_pro.parquet": (
        ("Phi-3-mini-4k-instruct", "Llama-3.1-8B-Instruct", "Mistral-7B-Instruct-v0.2"),
        ("gemini-1.5-pro-002", "gemini-1.5-flash-002", "Llama-3.1-70B-Instruct"),
    ),
    "zeroeval_crux.parquet": (
        ("Qwen2.5-3B-Instruct", "Phi-3.5-mini-instruct", "Llama-3.1-8B-Instruct"),
        ("gpt-4o-2024-08-06", "claude-3-5-sonnet-20241022", "gemini-1.5-pro"),
    ),
    "llmrouter_9m.parquet": (
        ("llama-3.1-8b-instruct", "qwen2.5-7b-instruct", "mistral-7b-instruct-v0.3"),
        ("llama-3.1-nemotron-51b-instruct", "llama-3.3-nemotron-super-49b-v1"),
    ),
}
# What we hold of our own prompts: (small, strong, mean of a pool).
OWN_SCORES = {"easy": (0.95, 0.98, 0.95), "hard": (0.15, 0.85, 0.35)}
# Tokens of a usual answer to our own prompts, by kind of work: our judgement too.
OWN_TOKENS = {
    "chat": 40.0,
    "code": 180.0,
    "extraction": 60.0,
    "knowledge": 70.0,
    "maths": 90.0,
    "reasoning": 90.0,
    "science": 110.0,
    "translation": 40.0,
    "writing": 220.0,
}
HARDER = 3.0  # What a hard prompt asks for is so many times as long.


class DataMissing(RuntimeError):
    """The labelled prompts are not where we were told to look, or are not what they should be."""


@dataclass(frozen=True)
class Prompt:
    """One prompt and how the tiers did on it; scores are means of 0..1.

    scores: by model, where each is known; tokens: of the answers, mean over models, nan if unknown.
    """

    text: str
    group: str
    source: str
    benchmark: str
    domain: str
    small: float
    strong: float
    mean: float
    scores: Mapping[str, float] = field(default_factory=dict, compare=False)
    tokens: float = float("nan")

    @property
    def set(self) -> str:
        """The data set: a benchmark of a source."""
        return f"{self.source}/{self.benchmark}"


def group_of(text: str) -> str:
    """The group of a prompt that came without one: sha256 over its words in lower case."""
    return hashlib.sha256(" ".join(text.lower().split()).encode()).hexdigest()[:16]


def held_out(group: str) -> bool:
    """Whether a group is for judging only; one in five, by a hash that no seed moves."""
    return hashlib.sha256(group.encode()).digest()[0] % 5 < HELD_OUT_FIFTHS


def own_prompts(name: str = "own.tsv") -> list[tuple[str, str, str]]:
    """Our own prompts as (tier, domain, prompt)."""
    with (PROMPTS / name).open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        return [(tier, domain, prompt) for tier, domain, prompt in rows]


def own() -> list[Prompt]:
    """Our own everyday prompts and word problems, with the scores that we hold to be right."""
    everyday = [
        Prompt(
            text,
            group_of(text),
            OWN,
            OWN,
            domain,
            *OWN_SCORES[tier],
            tokens=OWN_TOKENS[domain] * (HARDER if tier == "hard" else 1.0),
        )
        for tier, domain, text in own_prompts()
    ]
    name = word_problems.SOURCE
    for steps, text in word_problems.problems():
        small, strong = word_problems.scores(steps)
        mean, tokens = (small + strong) / 2, word_problems.answer_tokens(steps)
        everyday.append(
            Prompt(text, group_of(text), name, name, "maths", small, strong, mean, {}, tokens)
        )
    return everyday


def manifest(folder: Path) -> list[dict[str, Any]]:
    """The rows of MANIFEST.json whose licence lets us ship what they train."""
    path = folder / "MANIFEST.json"
    if not path.is_file():
        raise DataMissing(f"{path} is missing: point --data at the folder of labelled prompts.")
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [row for row in rows if row["may_train_shipped_artefact"] is True]


def digests(folder: Path) -> dict[str, str]:
    """sha256 of each file that trains, checked against the manifest."""
    found = {}
    for row in manifest(folder):
        path = folder / str(row["file"])
        if not path.is_file():
            raise DataMissing(f"{path} is missing, though MANIFEST.json lists it.")
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if found[path.name] != row["sha256"]:
            raise DataMissing(f"{path.name} is not the file that MANIFEST.json describes (sha256).")
    return found


def shared(folder: Path) -> list[Prompt]:
    """All prompts that may train the shipped artefact, in the order of their files."""
    return [p for name in sorted(digests(folder)) for p in _read(folder / name)]


def _read(path: Path) -> Iterator[Prompt]:
    import pyarrow.parquet as parquet  # Only training reads these; serving must not need it.

    small, strong = TIERS[path.name]
    columns = parquet.read_table(path).to_pydict()
    texts = columns["prompt"]
    if "query" in columns:  # The same words before every prompt would be all that we learn.
        texts = [query or text for query, text in zip(columns["query"], texts, strict=True)]
    first: dict[str, int] = {}
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    tokens: dict[str, list[float]] = defaultdict(list)
    for i, key in enumerate(columns["prompt_id"]):
        first.setdefault(key, i)
        if "out_tokens" in columns and columns["out_tokens"][i]:
            tokens[key].append(columns["out_tokens"][i])
        if columns["score"][i] is not None:
            scores[key][columns["model"][i]] = columns["score"][i]
    for key, i in first.items():
        row = scores[key]
        local = [row[m] for m in small if m in row]
        best = [row[m] for m in strong if m in row]
        if local and best:
            yield Prompt(
                texts[i],
                columns["group_id"][i],
                path.stem,
                columns["benchmark"][i],
                domain_of(columns["benchmark"][i], columns["category"][i]),
                float(np.mean(local)),
                float(np.mean(best)),
                float(np.mean(list(row.values()))),
                row,
                float(np.median(tokens[key])) if tokens[key] else float("nan"),
            )


def split(prompts: Iterable[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
    """(train, held out): no group stands in both."""
    train: list[Prompt] = []
    judge: list[Prompt] = []
    for prompt in prompts:
        unseen = prompt.benchmark in WITHHELD or held_out(prompt.group)
        (judge if unseen else train).append(prompt)
    barred = {p.group for p in judge}
    return [p for p in train if p.group not in barred], judge


def centred(values: NDArray[np.float64], keys: list[str]) -> NDArray[np.float64]:
    """Each value less the mean of its data set, so that no set's level is learnt."""
    out = values.copy()
    names = np.array(keys)
    for name in set(keys):
        out[names == name] -= values[names == name].mean()
    return out


def weights(keys: list[str]) -> NDArray[np.float64]:
    """1 / sqrt(n) for each row of a data set of n rows, scaled to a mean of 1."""
    counts: dict[str, int] = defaultdict(int)
    for key in keys:
        counts[key] += 1
    raw = np.array([1.0 / np.sqrt(counts[key]) for key in keys])
    return np.asarray(raw / raw.mean(), dtype=float)
