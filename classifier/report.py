"""The report: one page of HTML with its plots inside, no script and nothing to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from classifier.measures import shown

WIDTH, HEIGHT, MARGIN = 300, 220, 38
LINES = {"router": "#0b62a4", "length": "#b8860b", "oracle": "#888888"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #1d2329; background: #fff; }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0;
  display: block; overflow-x: auto; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #dde3e8; }
th:first-child, td:first-child { text-align: left; }
tr.lost td { background: #fff1e6; }
figure { display: inline-block; margin: .5rem; }
figcaption { font-size: 13px; }
svg text { font: 10px system-ui, sans-serif; fill: #48525c; }
"""


def page(
    card: Mapping[str, Any],
    held: Mapping[str, Any],
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    folds: Mapping[str, Mapping[str, Any]],
    times: Mapping[str, float],
    steady: Mapping[str, Any],
) -> str:
    """The whole page. `folds` may be empty; the page then says how to fill it."""
    many = folds.get("models", {})
    folds = {name: sets for name, sets in folds.items() if name != "models"}
    size = sum(int(row["bytes"]) for row in card["files"].values())
    plots = "".join(_plot(name, lines) for name, lines in curves.items())
    cpu = ", ".join(f"{us:g} µs for {n} characters" for n, us in times.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Router {escape(str(card["version"]))}</title>
<style>{STYLE}</style></head><body>
<h1>Router {escape(str(card["version"]))}</h1>
<p>{size:,} bytes; CPU: {cpu}. APGR .5 is chance, for a router that mixes two models at random: with
one local and one strong model that is the zero router too. A shaded row is one that we lose: the
router is below chance, or a plain baseline (prompt length, the mean of a known task) is above it.
The oracle knows both answers. MT-Bench is not in the data, so there is no figure for it.</p>
<h2>Prompts that were held out</h2>
{_held(held)}
<h2>Cost and quality</h2>
<p>Across: share of prompts to the strong tier. Up: mean score. Dashes: random at the same share,
from always-local to always-strong.</p>
{plots}
{_steady(steady)}
{_protocols(folds)}
{_models(many)}
{_chosen(card)}
</body></html>
"""


def _row(name: str, cells: Sequence[str], lost: bool) -> str:
    mark = ' class="lost"' if lost else ""
    return f"<tr{mark}><td>{escape(name)}</td>{''.join(f'<td>{c}</td>' for c in cells)}</tr>"


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _held(held: Mapping[str, Any]) -> str:
    rows = []
    for name, row in held.items():
        ours, plain = row["router"], ("prompt_length", "task_mean", "random", "oracle")
        others = [row[key]["apgr"] for key in plain]
        cells = [
            f"{row['prompts']:,}",
            f"{row['always_local']:.3f}",
            f"{row['always_strong']:.3f}",
            shown(ours["apgr"]),
            " to ".join(shown(value) for value in ours["apgr_interval"]),
            shown(ours["cpt50"], ".1%"),
            shown(ours["cpt80"], ".1%"),
            shown(row["auc"], ".2f"),
            f"{row['calibration_error']:.3f}",
            *(shown(value) for value in others),
        ]
        bar = max(0.5, others[0] or 0.0, others[1] or 0.0)
        rows.append(_row(name, cells, ours["apgr"] is not None and ours["apgr"] < bar))
    names = "set,prompts,always local,always strong,APGR,95 %,CPT50,CPT80,AUC,ECE"
    return _table([*names.split(","), "length", "task mean", "random", "oracle"], rows)


def _protocols(folds: Mapping[str, Mapping[str, Any]]) -> str:
    if not folds:
        return "<p>Folds: run <code>python -m classifier.evaluate --folds</code>.</p>"
    titles = {
        "folds": "Five folds: every kind of work known",
        "left out": "A family of benchmarks left out",
        "labels": "Learning curve: labels of a new domain, upon a prior without it, and alone",
    }
    parts = []
    names = ("apgr", "cpt50", "cpt80", "auc", "calibration_error", "calibration_floor")
    for protocol, sets in folds.items():
        rows = []
        for name, row in sets.items():
            values = [*(row[key] for key in names), row["length"], row["oracle"]]
            cells = ["-" if value is None else f"{value:.3f}" for value in values]
            interval = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
            cells = [f"{row['prompts']:,}", f"{row['gap']:.3f}", cells[0], interval, *cells[1:]]
            ours, length = row["apgr"], row["length"]
            rows.append(_row(name, cells, ours is not None and ours < max(0.5, length or 0.0)))
        heads = "set,prompts,gap,APGR,95 %,CPT50,CPT80,AUC,ECE,ECE of chance,length,oracle"
        parts.append(f"<h2>{titles.get(protocol, escape(protocol))}</h2>")
        parts.append(_table(heads.split(","), rows))
    parts.append(
        "<p>Gap: how much better the strong model is; ratios to a gap under .05 mean little. "
        "ECE of chance: what a perfectly calibrated score would show with so few prompts.</p>"
    )
    return "".join(parts)


def _steady(steady: Mapping[str, Any]) -> str:
    if not steady:
        return ""
    rows = []
    for name, row in steady.items():
        low, high = row["interval"]
        share = shown(row["unchanged"], ".1%")
        cells = [f"{row['prompts']:,}", share, f"{low:.1%} to {high:.1%}"]
        rows.append(_row(name, cells, row["unchanged"] is not None and row["unchanged"] < 0.88))
    heads = ["change", "prompts", "decisions unchanged at 50 % strong", "95 %"]
    return "<h2>The same prompts said otherwise</h2>" + _table(heads, rows)


def _models(many: Mapping[str, Any]) -> str:
    if not many:
        return ""
    rows = []
    for name, row in many.items():
        low, high = row["router less zero"]
        ours, task = row["router"], row["known task"]
        cells = [
            f"{row['prompts']:,}",
            f"{row['models']}",
            f"{row['zero']:.3f}",
            f"{ours['aiq']:.3f}",
            f"{low:+.3f} to {high:+.3f}",
            shown(ours["qnc"], ".2f"),
            f"{task['aiq']:.3f}",
            shown(task["qnc"], ".2f"),
            f"{row['oracle']['aiq']:.3f}",
        ]
        rows.append(_row(name, cells, ours["aiq"] < max(row["zero"], task["aiq"])))
    heads = "set,prompts,models,zero router,AIQ,less zero 95 %,QNC,known task,its QNC,oracle"
    return (
        "<h2>Choosing one of many models</h2>"
        + _table(heads.split(","), rows)
        + "<p>AIQ: area under the hull of cost and quality. QNC: cost to match the best single "
        "model, as a part of its cost; a dash where it is never matched. RouterBench by its true "
        "prices, Open LLM by billions of parameters; the latter trains nothing that ships.</p>"
    )


def _chosen(card: Mapping[str, Any]) -> str:
    return f"<h2>What was chosen how</h2><p>{escape(str(card.get('looked_at', '')))}</p>"


def _plot(name: str, lines: Mapping[str, Sequence[float]]) -> str:
    """One curve a router, in a frame that fits them all."""
    values = [value for line in lines.values() for value in line]
    low, high = min(values), max(max(values), min(values) + 1e-6)

    def point(i: int, value: float, count: int) -> str:
        across = MARGIN + (WIDTH - MARGIN - 8) * i / (count - 1)
        up = HEIGHT - MARGIN - (HEIGHT - MARGIN - 8) * (value - low) / (high - low)
        return f"{across:.1f},{up:.1f}"

    paths, ours = [], lines["router"]
    for key, line in lines.items():
        points = " ".join(point(i, value, len(line)) for i, value in enumerate(line))
        paths.append(
            f'<polyline points="{points}" fill="none" stroke="{LINES[key]}" stroke-width="2"/>'
        )
    ends = f"{point(0, ours[0], 2)} {point(1, ours[-1], 2)}"
    paths.append(f'<polyline points="{ends}" fill="none" stroke="#444" stroke-dasharray="4 3"/>')
    bottom = HEIGHT - MARGIN
    legend = " ".join(
        f'<tspan fill="{colour}">{key}</tspan>' for key, colour in LINES.items() if key in lines
    )
    return (
        f'<figure><svg role="img" aria-label="cost and quality: {escape(name)}" width="{WIDTH}" '
        f'height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(paths)}'
        f'<text x="2" y="{bottom}">{low:.2f}</text><text x="2" y="16">{high:.2f}</text>'
        f'<text x="{MARGIN}" y="{bottom + 14}">0</text>'
        f'<text x="{WIDTH - 30}" y="{bottom + 14}">100 %</text>'
        f'<text x="{MARGIN}" y="{bottom + 30}">{legend}</text></svg>'
        f"<figcaption>{escape(name)}</figcaption></figure>"
    )
