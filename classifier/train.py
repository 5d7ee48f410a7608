"""Train the artefact: `python -m classifier.train`, or `make train`.

The same data and the same seed give the same bytes: one thread, no clock, splits by hash. On
another Python `model.npz` is the same still; the pickle is written otherwise, and since 3.12 `sum`
rounds better, which the last digits of some figures in the card show. It says which one made it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from classifier import arrays as plain
from classifier import artefact, embedding, evaluate, features, labels, model, scorer
from classifier.experts import VOICES
from classifier.labels import Prompt
from classifier.settings import ROOT, default_artefact

THRESHOLD = 0.5
QUANTILES = 401
# What turns data into an artefact; a version is named for it too.
CODE = (
    "features",
    "model",
    "base",
    "experts",
    "bags",
    "views",
    "likeness",
    "trust",
    "domains",
    "heads",
    "labels",
    "word_problems",
)
CANDIDATE = ROOT / "var" / "candidate"
STEPS = 30
HOW = "`make data` fetches it; `make train DATA=FILE` learns from your own labels without it."
# What was seen while choices were made: who reads the figures should know.
LOOKED_AT = (
    "Features, learners, cluster numbers, ridge strengths, topics, how voices are pulled to the "
    "clusters, where the level bends the base and when an expert is trusted were chosen on the "
    "training groups alone: five-fold cross-validation over some twenty ways to cut the folds, and "
    "benchmarks left out in turn (the cuts and families that the report shows are among them, so "
    "its rows for folds and left-out families are hopeful). That clusters see 96 whitened topics "
    "and have most of the say was chosen for MMLU's folds (.623 to .648 over two cuts; elsewhere "
    "it changes next to nothing), so the figure there is the most hopeful one. How softly clusters "
    "are told apart was chosen among five widths, and from what on the pull to them eases among "
    "five limits, over six cuts of MMLU and twelve other sets (.660 to .663 on MMLU, the mean of "
    "the others .571 to .570). That a model's head learns from one source alone was chosen on "
    "RouterBench's folds, all of its prompts (.843 to .848). The bend was chosen "
    "among four peaks and three strengths on left-out families. Sets that train nothing here "
    "(AlpacaEval, BBH, RouterDC with its GSM8K) were looked at while comparing base heads and "
    "gates. How voices are stacked, whom the gate may be trusted with, and all curves, come from "
    "folds and families inside training. The held-out table chose nothing: it was seen after the "
    "fits of four earlier pipelines and twice after this one. No label of GSM8K or MGSM that is "
    "judged here chose anything; their figures and the experts that their prompts fall to were "
    "seen beside the left-out families. Intervals do not cover such choices."
)
LICENCES = {
    "llmrouter_9m.parquet": "MIT",
    "mmlu_pro.parquet": "Apache-2.0",
    "routellm_mmlu1531.parquet": "Apache-2.0",
    "routerbench.parquet": "MIT",
    "zeroeval_crux.parquet": "Apache-2.0",
}


def train(
    prompts: Sequence[Prompt],
    data: dict[str, str],
    folder: Path,
    parameters: model.Parameters,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Fit on the training groups, judge on the others, write the artefact; returns its card."""
    seen, held = labels.split(prompts)
    tell(f"{len(seen):,} prompts to learn from, {len(held):,} held out")
    opened = embedding.load()
    tell("features")
    x = model.matrix([features.extract(p.text, opened) for p in seen])
    with threadpool_limits(limits=1):  # Sums made in parallel differ from run to run.
        fitted = model.fit(seen, x, parameters, tell)
    arrays = plain.arrays_of(fitted, parameters.far_share)
    fast = scorer.Scorer(arrays, opened)
    tell("judging on held-out prompts")
    figures = evaluate.judge(fast, held, parameters.seed, seen)
    in_domain = [p for p in held if p.benchmark not in labels.WITHHELD]
    reference = np.sort([fast(p.text).score for p in in_domain])
    card = {
        "name": folder.name,
        "version": _version(data, parameters),
        "seed": parameters.seed,
        "parameters": asdict(parameters),
        "features": {"surface": list(features.SURFACE_NAMES), "tokens": features.VOCABULARY},
        "data": {
            "digests": data,
            "licences": {name: LICENCES.get(name, "ours, MIT") for name in data},
            "training_prompts": dict(sorted(Counter(p.source for p in seen).items())),
            "held_out_prompts": dict(sorted(Counter(p.source for p in held).items())),
            "never_trained": sorted(labels.WITHHELD),
            "tiers": {name: {"small": s, "strong": t} for name, (s, t) in labels.TIERS.items()},
        },
        "held_out": figures,
        "experts": _experts(fitted),
        "models": sorted(fitted.models),
        "looked_at": LOOKED_AT,
        "default_threshold": THRESHOLD,
        "quantiles": [float(q) for q in np.quantile(reference, np.linspace(0, 1, QUANTILES))],
        "golden": [_golden(fast, row) for row in labels.own_prompts("golden.tsv")],
    }
    return artefact.save(folder, card, arrays, fitted)


def _experts(fitted: model.Model) -> dict[str, dict[str, float]]:
    """How much each voice counts for each expert."""
    return {
        expert.name: {
            name: round(float(share), 4) for name, share in zip(VOICES, expert.stack, strict=True)
        }
        for expert in fitted.experts
    }


def _golden(fast: scorer.Scorer, row: tuple[str, str, str]) -> dict[str, Any]:
    tier, domain, prompt = row
    return {"prompt": prompt, "tier": tier, "domain": domain, "score": fast(prompt).score}


def _version(data: dict[str, str], parameters: model.Parameters) -> str:
    """Named for what made it: data, parameters and the code that turned one into the other."""
    here = Path(__file__).parent
    code = [(here / f"{part}.py").read_text("utf-8") for part in CODE]
    text = json.dumps([data, asdict(parameters), code], sort_keys=True)
    return f"{artefact.FORMAT}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _own_digest() -> dict[str, str]:
    path = labels.PROMPTS / "own.tsv"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m classifier.train", description=__doc__)
    parser.add_argument("--data", type=Path, default=evaluate.default_data(), help="shared labels")
    parser.add_argument("--out", type=Path, help="where the artefact goes")
    parser.add_argument("--seed", type=int, default=0)
    own = parser.add_argument_group("own labels", "with these the artefact goes to var/candidate")
    own.add_argument("--labels", type=Path, action="append", default=[], metavar="FILE")
    own.add_argument("--feedback", type=Path, action="append", default=[], metavar="FILE")
    own.add_argument("--prior", type=Path, default=default_artefact(), help="what is built upon")
    own.add_argument("--local", default="", metavar="MODELS", help="who stands for the local tier")
    own.add_argument("--strong", default="", metavar="MODELS", help="who stands for the strong one")
    return parser


def _own(chosen: argparse.Namespace) -> int:
    """Train on a person's own labels; 1 if they make it worse, 2 if they cannot be used."""
    from classifier import train_own
    from classifier.own_tiers import Tiers

    out = chosen.out or CANDIDATE
    names = [tuple(n for n in text.split(",") if n) for text in (chosen.local, chosen.strong)]
    has_data = (chosen.data / "MANIFEST.json").is_file()

    def tell(step: str) -> None:
        print(f"  {step}", file=sys.stderr, flush=True)

    try:
        gathered = train_own.gather(chosen.labels, chosen.feedback, Tiers(*names))
        data = chosen.data if has_data else None
        card = train_own.train(gathered, chosen.prior, out, data, tell)
    except train_own.NotBetter as error:
        print(f"Not trained: {error}", file=sys.stderr)
        return 1
    except (train_own.LabelsError, artefact.ArtefactError, labels.DataMissing, OSError) as error:
        print(f"Cannot train: {error} Nothing was written.", file=sys.stderr)
        return 2
    print(f"{out} {card['version']}, built upon {card['prior']['version']}\n")
    print(train_own.table(card))
    print(f"\nTo let it serve: python -m classifier promote {out}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Train from the command line; exit code 2 if the data cannot be used."""
    chosen = _parser().parse_args(arguments)
    if chosen.labels or chosen.feedback:
        return _own(chosen)
    out = chosen.out or default_artefact()
    from tqdm import tqdm

    steps = STEPS
    with tqdm(total=steps, bar_format="{l_bar}{bar:20}| {elapsed} {desc}", leave=True) as bar:

        def tell(step: str) -> None:
            bar.set_description_str(step, refresh=False)
            bar.update()

        try:
            data = labels.digests(chosen.data) | _own_digest()
            prompts = labels.shared(chosen.data) + labels.own()
        except labels.DataMissing as error:
            bar.close()
            print(f"Cannot train: {error} {HOW}", file=sys.stderr)
            return 2
        card = train(prompts, data, out, model.Parameters(seed=chosen.seed), tell)
    size = sum(row["bytes"] for row in card["files"].values())
    print(f"\n{out} {card['version']}, {size:,} bytes\n")
    print(evaluate.table(card["held_out"]))
    wrong = [
        g["prompt"] for g in card["golden"] if (g["score"] >= THRESHOLD) != (g["tier"] == "local")
    ]
    print(
        f"golden prompts: {len(card['golden']) - len(wrong)} of {len(card['golden'])} as expected"
    )
    for prompt in wrong:
        print(f"  not as expected: {prompt[:80]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
