"""The gates that a candidate passes before it serves, and the way back.

The candidate is copied first, and the copy is judged and then renamed into its place: what was
checked is what serves. The figures on held-out prompts are those of the two cards; nothing is
trained or judged anew here but the golden prompts and the time.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier import artefact
from classifier.artefact import Artefact, ArtefactError
from classifier.scorer import Scorer
from classifier.settings import Settings
from classifier.shelf import Shelf

MARGIN = 0.01
SLOWER = 1.5
CALIBRATION = 0.02
ROUNDS = 15
CHARACTERS = 400
HISTORY = "history.jsonl"


@dataclass(frozen=True, slots=True)
class Gate:
    """One question to the candidate, what it and the active model say, and the verdict."""

    name: str
    candidate: str
    active: str
    rule: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a promotion; `place` is the folder that serves now, None if none changed."""

    gates: list[Gate]
    words: str
    place: Path | None

    @property
    def promoted(self) -> bool:
        return self.place is not None


def promote(candidate: Path, chosen: Settings, force: str = "") -> Outcome:
    """Judge the artefact in `candidate` and let it serve if it may.

    `force` is a reason to let it serve against the gates; it is kept in `history.jsonl`. What
    cannot be verified never serves, whatever the reason. ArtefactError if the shelf is in the way.
    """
    shelf = Shelf(chosen.models)
    with shelf.locked():
        incoming = shelf.folder / ".incoming"
        try:
            try:
                _copy(candidate, incoming)
                fresh = artefact.load(incoming)
            except ArtefactError as error:
                words = str(error).replace(str(incoming), str(candidate))
                return Outcome([_verified("", passed=False)], f"Not promoted: {words}", None)
            gates = [_verified(fresh.version, passed=True)]
            name = f"{fresh.version}-{fresh.digest[:8]}"
            folder, active, why = _active(chosen)
            if active is not None and fresh.card == active.card and not chosen.pinned:
                return Outcome(gates, f"{folder} is the same, and serves already.", folder)
            if active is None:
                gates.append(Gate("comparison", "", why, "the active artefact can be read", False))
            else:
                gates += judged(fresh, active)
            failed = [gate.name for gate in gates if not gate.passed]
            if failed and not force:
                words = f"Not promoted: {'; '.join(failed)}."
                return Outcome(gates, f'{words} To do it all the same: --force "REASON".', None)
            place = shelf.put(incoming, name)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        row = {"promoted": name, "instead_of": folder.name, "failed": failed, "force": force}
        _note(shelf.folder, row)
    words = f"{place} serves from now on, instead of {folder.name}."
    if failed:
        words += f" Forced ({force}) against: {'; '.join(failed)}."
    return Outcome(gates, words, place)


def rollback(chosen: Settings) -> str:
    """Let the artefact before the last promotion serve; ArtefactError if there is none."""
    shelf = Shelf(chosen.models)
    with shelf.locked():
        was, now = shelf.back()
        _note(shelf.folder, {"rolled_back": was, "to": now})
    place = shelf.folder / now if now else chosen.artefact
    return f"{place} serves from now on, instead of {was}."


def judged(fresh: Artefact, active: Artefact) -> list[Gate]:
    """All gates between two verified artefacts."""
    return [
        _golden(fresh, active),
        *_held_out(fresh.card, active.card),
        _latency(fresh, active),
    ]


def _active(chosen: Settings) -> tuple[Path, Artefact | None, str]:
    """What a start of the service would load; (its folder, itself or None, why not)."""
    folder = chosen.artefact
    try:
        folder = chosen.serving()
        return folder, artefact.load(folder), ""
    except ArtefactError as error:
        return folder, None, str(error)


def _golden(fresh: Artefact, active: Artefact) -> Gate:
    """The golden prompts of both cards, each in the tier that its card expects."""
    rows = {r["prompt"]: r.get("tier") for m in (active, fresh) for r in m.card["golden"]}
    wrong = [
        sum(m.tier(m.scorer(prompt).score) != tier for prompt, tier in rows.items() if tier)
        for m in (fresh, active)
    ]
    mine, theirs = (f"{len(rows) - n} of {len(rows)}" for n in wrong)
    return Gate("golden prompts", mine, theirs, "no more in the wrong tier", wrong[0] <= wrong[1])


def _held_out(fresh: dict[str, Any], active: dict[str, Any]) -> list[Gate]:
    """Held-out APGR over all sets and set by set, and calibration, where both have figures."""
    mine, theirs = _figures(fresh), _figures(active)
    both = [
        name for name, row in mine.items() if name in theirs and row.prompts == theirs[name].prompts
    ]
    if not both:
        words = "the cards share a set of held-out prompts"
        return [Gate("held-out", f"{len(mine)} sets", f"{len(theirs)} sets", words, False)]
    apgr = [statistics.fmean(rows[name].apgr for name in both) for rows in (mine, theirs)]
    error = [statistics.fmean(rows[name].calibration for name in both) for rows in (mine, theirs)]
    gates = [
        Gate(
            f"held-out APGR, mean of {len(both)} sets",
            f"{apgr[0]:.3f}",
            f"{apgr[1]:.3f}",
            f"not lower by more than {MARGIN}",
            apgr[0] >= apgr[1] - MARGIN,
        ),
        Gate(
            "calibration error, mean",
            f"{error[0]:.3f}",
            f"{error[1]:.3f}",
            f"not higher by more than {CALIBRATION}",
            error[0] <= error[1] + CALIBRATION,
        ),
    ]
    for name in both:
        low = theirs[name].low
        if mine[name].apgr < low:
            rule = f"not below the active one's interval ({low:.3f})"
            was = f"{theirs[name].apgr:.3f}"
            gates.append(Gate(f"APGR, {name}", f"{mine[name].apgr:.3f}", was, rule, False))
    return gates


@dataclass(frozen=True, slots=True)
class _Figures:
    prompts: int
    apgr: float
    low: float
    calibration: float


def _figures(card: dict[str, Any]) -> dict[str, _Figures]:
    """What a card says of each held-out set; rows without the figures, or with nan, are left out.

    Where strong models do no better than small ones APGR does not exist, and a set says nothing.
    """
    held = card.get("held_out")
    found = {}
    for name, row in held.items() if isinstance(held, dict) else ():
        try:
            ours = row["router"]
            figures = _Figures(
                int(row["prompts"]),
                float(ours["apgr"]),
                float(ours["apgr_interval"][0]),
                float(row["calibration_error"]),
            )
        except (KeyError, TypeError, ValueError, IndexError):
            continue
        if figures.apgr == figures.apgr and figures.calibration == figures.calibration:
            found[str(name)] = figures
    return found


def _latency(fresh: Artefact, active: Artefact) -> Gate:
    """CPU time for a prompt of 400 characters, both measured in turns."""
    text = " ".join(row["prompt"] for row in active.card["golden"])
    text = (text * (1 + 2 * CHARACTERS // len(text)))[: 2 * CHARACTERS]
    prompts = [text[i : i + CHARACTERS] for i in range(0, CHARACTERS, 20)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for found, model in zip(times, (fresh, active), strict=True):
            found.append(_seconds(model.scorer, prompts))
    mine, theirs = (statistics.median(found) * 1e6 for found in times)
    rule = f"at most {SLOWER:g} times"
    return Gate(
        "time a prompt", f"{mine:.0f} µs", f"{theirs:.0f} µs", rule, mine <= SLOWER * theirs
    )


def _seconds(scorer: Scorer, prompts: Sequence[str]) -> float:
    start = time.process_time()
    for prompt in prompts:
        scorer(prompt)
    return (time.process_time() - start) / len(prompts)


def _verified(version: str, *, passed: bool) -> Gate:
    return Gate("verified", version, "", "digests, versions, golden scores", passed)


def _copy(candidate: Path, incoming: Path) -> None:
    """The artefact's files beside the promoted ones, not yet looked at."""
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    for name in (artefact.CARD, artefact.ARRAYS, artefact.REFERENCE):
        source = candidate / name
        if not source.is_file():
            raise artefact.ArtefactMissing(f"{source} is missing: {candidate} holds no artefact.")
        if source.stat().st_size > artefact.LARGEST:
            raise ArtefactError(f"{source} is larger than {artefact.LARGEST:,} bytes.")
        shutil.copyfile(source, incoming / name)


def _note(folder: Path, row: dict[str, Any]) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with (folder / HISTORY).open("a", encoding="utf-8") as out:
        out.write(json.dumps({"at": at, **row}, ensure_ascii=False) + "\n")


def table(gates: Sequence[Gate]) -> str:
    """The gates as lines of text."""
    rows = [("gate", "candidate", "active", "", "rule")]
    rows += [
        (g.name, g.candidate, g.active, "passed" if g.passed else "FAILED", g.rule) for g in gates
    ]
    wide = [max(len(row[i]) for row in rows) + 2 for i in range(5)]
    lines = ["".join(t.ljust(w) for t, w in zip(r, wide, strict=True)).rstrip() for r in rows]
    return "\n".join((lines[0], "-" * (sum(wide) - 2), *lines[1:]))
