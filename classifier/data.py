"""Rebuild shared labels from their public sources: `python -m classifier data`, or `make data`.

Two of the five sets that train what ships: RouteLLM's published pair on MMLU, and RouterBench with
its true costs, each from one pinned commit. Which prompts may train is kept here as hashes, for the
rest of those files is what routers are judged on and must never be learnt from. The rebuilt table
must have the digest that the original has: of every prompt, model and score.

DataError
  every refusal: no network, a file that is gone, or one that is not what it was
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import io
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classifier.labels import PROMPTS, group_of
from classifier.settings import ROOT

HOST = "https://raw.githubusercontent.com"
SOURCES = PROMPTS / "sources.json"
LARGEST = 64 * 1024 * 1024
PATIENCE = 60.0
LAST_ORDER = "\nPrint only a single choice"
PREFIX = "Please answer with the letter of the correct answer.\n\n"

Row = dict[str, Any]


class DataError(RuntimeError):
    """A source cannot be had, or is not what it was; the message says which."""


@dataclass(frozen=True)
class Source:
    """One set: where its files are, what reads them, and what must come out."""

    file: str
    repository: str
    commit: str
    paths: tuple[str, ...]
    licence: str
    table_sha256: str


def base(environment: Mapping[str, str]) -> str:
    """Where the sources are: their host, or a copy that CLASSIFIER_SOURCES names."""
    return environment.get("CLASSIFIER_SOURCES") or HOST


def sources() -> list[Source]:
    """The sets that can be rebuilt."""
    rows = json.loads(SOURCES.read_text(encoding="utf-8"))
    return [Source(**{**row, "paths": tuple(row["paths"])}) for row in rows]


def rebuild(folder: Path, place: str, wanted: list[Source] | None = None) -> Iterator[str]:
    """Fetch, check and write each set; yields what was done. The folder changes only as a whole."""
    import pyarrow as arrow  # Only training needs these.
    import pyarrow.parquet as parquet

    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise DataError(f"{folder} cannot be written to; choose another folder with --out.")
    _mind_others(folder, sources() if wanted is None else wanted)
    beside = folder.with_name(folder.name + ".incoming")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        manifest = []
        for source in sources() if wanted is None else wanted:
            rows = [row for row in _rows(source, place) if _may_train(source, row)]
            found = digest((r["query"] or r["prompt"], r["model"], r["score"]) for r in rows)
            if found != source.table_sha256:
                raise DataError(
                    f"{source.repository} at {source.commit[:12]} gives another table than it did: "
                    f"{len(rows)} rows with sha256 {found[:12]}, not {source.table_sha256[:12]}."
                )
            path = beside / source.file
            parquet.write_table(arrow.Table.from_pylist(rows), path)
            manifest.append(
                {
                    "file": source.file,
                    "rows": len(rows),
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                    "source_repo": source.repository,
                    "commit": source.commit,
                    "licence": source.licence,
                    "may_train_shipped_artefact": True,
                }
            )
            yield f"{source.file}: {len(rows):,} rows from {source.repository}, digest as it was"
        (beside / "MANIFEST.json").write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(beside.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    yield f"{folder} written; `make train` reads it"


def _mind_others(folder: Path, wanted: list[Source]) -> None:
    """Never replace a manifest that lists more than will be written."""
    path = folder / "MANIFEST.json"
    if not path.is_file():
        return
    listed = {str(row["file"]) for row in json.loads(path.read_text(encoding="utf-8"))}
    more = sorted(listed - {source.file for source in wanted})
    if more:
        raise DataError(
            f"{path} lists sets that cannot be rebuilt ({', '.join(more)}); "
            "choose another folder with --out."
        )


def digest(rows: Any) -> str:
    """sha256 over sorted lines of (prompt, model, score), whatever order they came in."""
    lines = sorted(
        f"{hashlib.sha256(prompt.encode()).hexdigest()} {model} {score:.4f}"
        for prompt, model, score in rows
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def key(prompt: str) -> int:
    """What stands for a prompt in the list of those that may train."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big")


def _may_train(source: Source, row: Row) -> bool:
    return key(row["query"] or row["prompt"]) in _allowed(source.file)


def _allowed(file: str, known: dict[str, frozenset[int]] = {}) -> frozenset[int]:  # noqa: B006
    if file not in known:
        path = PROMPTS / f"{Path(file).stem}.keys.npy"
        known[file] = frozenset(int(k) for k in np.load(path, allow_pickle=False))
    return known[file]


def _rows(source: Source, place: str) -> Iterator[Row]:
    reader: Callable[[str, str], Iterator[Row]] = READERS[source.file]
    for path in source.paths:
        url = f"{place.rstrip('/')}/{source.repository}/{source.commit}/{path}"
        text = _fetched(url)
        try:
            yield from reader(path, text)
        except (KeyError, ValueError, SyntaxError, csv.Error) as error:
            raise DataError(f"{url} is not laid out as it was: {error!r}.") from error


def _fetched(url: str) -> str:
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise DataError(f"{url} is neither https nor on this machine.")
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:  # noqa: S310
            content = response.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        error.close()  # It holds the answer open.
        raise DataError(f"{url} answered {error.code}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"{url} cannot be reached ({reason}). Without a network `make train DATA=FILE` learns "
            "from your own labels, with the shipped artefact as the prior."
        ) from error
    if len(content) > LARGEST:
        raise DataError(f"{url} is larger than {LARGEST:,} bytes.")
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{url} is no text in UTF-8.") from error


def _pair(path: str, text: str) -> Iterator[Row]:
    """RouteLLM's answers of two models: a row a question, True where it was right."""
    subject = Path(path).stem.removeprefix("mmlu_")
    models = {
        "gpt-4-1106-preview": "gpt-4-1106-preview",
        "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b-instruct-v0.1",
    }
    for i, row in enumerate(csv.DictReader(io.StringIO(text, newline=""))):
        for column, name in models.items():
            if row[column] not in ("True", "False"):
                raise ValueError(f"{column} is {row[column]!r}")
            score = float(row[column] == "True")
            yield _row(f"{subject}-{i}", "mmlu", subject, row["prompt"], "", name, score, None)


def _bench(path: str, text: str) -> Iterator[Row]:
    """RouterBench: a row a prompt, columns of scores and of costs."""
    csv.field_size_limit(LARGEST)
    names = {"arc-challenge": "arc_challenge"}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        (prompt,) = ast.literal_eval(row["prompt"])
        benchmark = names.get(row["eval_name"], row["eval_name"])
        for column in row:
            if column and f"{column}|total_cost" in row:
                cost, score = float(row[f"{column}|total_cost"]), float(row[column])
                model = column.rpartition("/")[2]
                asked = query(prompt, benchmark)
                yield _row(
                    row["sample_id"], benchmark, benchmark, prompt, asked, model, score, cost
                )


def query(prompt: str, benchmark: str) -> str:
    """What a few-shot prompt asks: its last question, without the orders that frame it."""
    if benchmark == "mbpp":
        return prompt
    head = prompt[: prompt.rindex(LAST_ORDER)]
    before = head.rfind(LAST_ORDER.strip())
    block = head[before:].split("\n\n", 1)[1] if before >= 0 else head
    return block.removeprefix(PREFIX).strip()


def _row(
    name: str,
    benchmark: str,
    category: str,
    prompt: str,
    asked: str,
    model: str,
    score: float,
    cost: float | None,
) -> Row:
    return {
        "prompt_id": name,
        "benchmark": benchmark,
        "category": category,
        "prompt": prompt,
        "query": asked,
        "model": model,
        "score": score,
        "cost_usd": cost,
        "group_id": group_of(asked or prompt)[:12],
    }


READERS: dict[str, Callable[[str, str], Iterator[Row]]] = {
    "routellm_mmlu1531.parquet": _pair,
    "routerbench.parquet": _bench,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild from the command line; exit code 2 if a source cannot be had or is another."""
    parser = argparse.ArgumentParser(prog="python -m classifier data", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "var" / "data")
    parser.add_argument("--base", default="", help="where the sources are, instead of their host")
    chosen = parser.parse_args(arguments)
    try:
        for line in rebuild(chosen.out, chosen.base or base(os.environ)):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except DataError as error:
        sys.stderr.write(f"Cannot rebuild the data: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
