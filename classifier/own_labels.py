"""A person's own labelled prompts: read row by row, checked, and said where they are wrong.

Three layouts, in CSV, JSON lines or Parquet:

  prompt, label            label: `local` (the small model is enough), `strong`, or the small
                           model's score, 0..1
  prompt, MODEL, MODEL ..  a column for each model, with its score 0..1; empty if not asked
  prompt, model, score     a row for each answer

In JSON lines the models' scores may also stand in one object under `scores`. A file may have any
number of rows: at most MOST_PROMPTS distinct prompts are kept, a sample that hashes choose, so that
memory is bounded and the same file gives the same sample.

LabelsError
  every refusal; its message names the file and the lines
"""

from __future__ import annotations

import csv
import hashlib
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classifier.labels import group_of

MOST_PROMPTS = 10_000
FEWEST_PROMPTS = 30
MOST_MODELS = 200
MOST_TROUBLES = 10
LONGEST_PROMPT = 200_000
LONGEST_LINE = 1_000_000
KNOWN = frozenset({"prompt", "label", "model", "score", "scores"})
WORDS = {"local": (1.0, 1.0), "strong": (0.0, 1.0)}

Row = Mapping[str, Any]


class LabelsError(ValueError):
    """The file cannot be learnt from; the message says why, and in which lines."""


@dataclass
class Own:
    """One distinct prompt with what is known of it; a missing score is None.

    weight: how much the row counts; 1 but for feedback, which counts by its propensity.
    """

    text: str
    group: str
    scores: dict[str, float] = field(default_factory=dict)
    small: float | None = None
    strong: float | None = None
    weight: float = 1.0
    seen: int = 1


@dataclass
class Read:
    """What a file held: the prompts kept, and how much else there was."""

    prompts: list[Own]
    rows: int
    duplicates: int
    distinct: int


def read(path: Path) -> Read:
    """Read one file; LabelsError names lines that do not fit, up to MOST_TROUBLES of them."""
    kept = Kept()
    troubles: list[str] = []
    rows = 0
    for line, row in _rows(path):
        rows += 1
        try:
            if isinstance(row, LabelsError):
                raise row
            kept.add(_own(row))
        except LabelsError as error:
            troubles.append(f"line {line}: {error}")
            if len(troubles) >= MOST_TROUBLES:
                troubles.append("and perhaps more")
                break
    if troubles:
        raise LabelsError(f"{path.name}: " + "; ".join(troubles))
    if not rows:
        raise LabelsError(f"{path.name} has no rows.")
    return Read(kept.prompts(), rows, kept.duplicates, kept.distinct)


class Kept:
    """Distinct prompts, at most MOST_PROMPTS: those whose groups hash lowest."""

    def __init__(self) -> None:
        self._by_group: dict[str, Own] = {}
        self._highest: list[tuple[int, str]] = []
        self.duplicates = 0
        self.distinct = 0

    def add(self, own: Own) -> None:
        """Keep a prompt, merge it with its twin, or let it go."""
        twin = self._by_group.get(own.group)
        if twin is not None:
            self.duplicates += _merge(twin, own)
            return
        rank = -int.from_bytes(hashlib.sha256(own.group.encode()).digest()[8:16], "big")
        if len(self._by_group) >= MOST_PROMPTS:
            self.distinct += 1
            if rank <= self._highest[0][0]:
                return
            _, gone = heapq.heapreplace(self._highest, (rank, own.group))
            del self._by_group[gone]
        else:
            self.distinct += 1
            heapq.heappush(self._highest, (rank, own.group))
        self._by_group[own.group] = own

    def prompts(self) -> list[Own]:
        """What was kept, in an order that the file's order does not change."""
        return [self._by_group[group] for group in sorted(self._by_group)]


def _merge(twin: Own, own: Own) -> int:
    """Add what a second row says of the same prompt; 1 if it says something again, else 0."""
    again = 0
    for name, value in own.scores.items():
        if name in twin.scores:
            again = 1
            value = (twin.scores[name] * twin.seen + value) / (twin.seen + 1)
        twin.scores[name] = value
    for side in ("small", "strong"):
        here, there = getattr(twin, side), getattr(own, side)
        if there is not None:
            again = 1 if here is not None else again
            new = there if here is None else (here * twin.seen + there) / (twin.seen + 1)
            setattr(twin, side, new)
    twin.seen += again
    twin.weight = max(twin.weight, own.weight)
    return again


def _own(row: Row) -> Own:
    """One row as a prompt; LabelsError names the field."""
    text = row.get("prompt")
    if not isinstance(text, str) or not text.strip():
        raise LabelsError("'prompt' is missing or empty")
    if len(text) > LONGEST_PROMPT:
        raise LabelsError(f"'prompt' has {len(text):,} characters; {LONGEST_PROMPT:,} is the most")
    own = Own(text, group_of(text))
    if row.get("label") not in (None, ""):
        own.small, own.strong = _label(row["label"])
        return own
    if row.get("model") not in (None, ""):
        own.scores[str(row["model"])] = score_of(row.get("score"), "score")
        return own
    given = row.get("scores") if isinstance(row.get("scores"), Mapping) else row
    for name, value in (given or {}).items():
        if name not in KNOWN and value not in (None, ""):
            own.scores[str(name)] = score_of(value, str(name))
    if not own.scores:
        raise LabelsError("neither a 'label' nor a model's score")
    if len(own.scores) > MOST_MODELS:
        raise LabelsError(f"{len(own.scores)} models; {MOST_MODELS} is the most")
    return own


def _label(value: object) -> tuple[float, float | None]:
    if isinstance(value, str) and value.strip().lower() in WORDS:
        return WORDS[value.strip().lower()]
    try:
        return score_of(value, "label"), None
    except LabelsError:
        raise LabelsError(
            f"'label' is {str(value)[:40]!r}; it must be local, strong or a score from 0 to 1"
        ) from None


def score_of(value: object, name: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise LabelsError(f"{name!r} is {str(value)[:40]!r}, which is no number") from None
    if not 0.0 <= number <= 1.0:
        raise LabelsError(f"{name!r} is {number:g}; a score is from 0 to 1")
    return number


def _rows(path: Path) -> Iterator[tuple[int, Row | LabelsError]]:
    """(line, row) of a file, by its ending; a row that cannot be read is its error."""
    if not path.is_file():
        raise LabelsError(f"{path} is not there.")
    readers = {
        ".csv": _csv,
        ".jsonl": json_lines,
        ".ndjson": json_lines,
        ".json": json_lines,
        ".parquet": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(readers))
        raise LabelsError(f"{path.name} ends in {path.suffix or 'nothing'!r}; known: {known}.")
    yield from reader(path)


def _csv(path: Path) -> Iterator[tuple[int, Row | LabelsError]]:
    csv.field_size_limit(LONGEST_LINE)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, strict=True)
        try:
            _columns(path, rows.fieldnames or [])
            for row in rows:
                if None in row or None in row.values():
                    yield rows.line_num, LabelsError("not as many cells as the header")
                else:
                    yield rows.line_num, row
        except (csv.Error, UnicodeDecodeError) as error:
            yield rows.line_num, LabelsError(f"cannot be read: {error}")


def json_lines(path: Path) -> Iterator[tuple[int, Row | LabelsError]]:
    with path.open("rb") as lines:  # Bytes are split at \n alone; U+2028 may stand in a prompt.
        number = 0
        while raw := lines.readline(LONGEST_LINE):
            number += 1
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
            except (ValueError, RecursionError) as error:
                yield number, LabelsError(f"is no JSON: {error}")
                continue
            if isinstance(row, dict):
                yield number, row
            else:
                yield number, LabelsError("is no JSON object")


def _parquet(path: Path) -> Iterator[tuple[int, Row | LabelsError]]:
    import pyarrow.parquet as parquet  # Only training reads these; serving must not need it.
    from pyarrow import ArrowException

    try:
        opened = parquet.ParquetFile(path)
        _columns(path, opened.schema_arrow.names)
        number = 0
        for batch in opened.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except ArrowException as error:
        raise LabelsError(f"{path.name} is no Parquet file: {str(error)[:200]}") from error


def _columns(path: Path, names: Sequence[str]) -> None:
    if "prompt" not in names:
        found = ", ".join(names[:8]) or "none"
        raise LabelsError(f"{path.name} has no column 'prompt'; its columns: {found}.")
    if "model" in names and "score" not in names:
        raise LabelsError(f"{path.name} has a column 'model' but none named 'score'.")
    if len(names) < 2:
        raise LabelsError(f"{path.name} has no column but 'prompt'; give 'label' or scores.")
