"""From the classifier's opinion to a tier: one route's rule, apart from the score.

Tiers stand weakest first. A threshold, a share, a floor of quality or the classifier's own line
chooses one; a prompt unlike any other may go to a tier of its own; and now and again, by a known
chance, another tier is asked, so that what it would have done is not guessed for ever.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.engine.ports import Opinion, Verdict
from gateway.engine.share import LiveShare
from gateway.settings import Route


@dataclass(slots=True)
class Choice:
    """`propensity`: the chance, 0..1, with which this tier was chosen for this prompt."""

    tier: str
    reason: str
    propensity: float = 1.0


class Policy:
    """`live` is the route's memory of its traffic, kept over reloads."""

    def __init__(
        self,
        route: Route,
        on_failure: str,
        live: LiveShare,
        toss: Callable[[], float] = random.random,
    ) -> None:
        self._route = route
        self._names = tuple(route.ordered())
        self._live = live
        self._toss = toss
        if on_failure not in self._names:
            on_failure = self._names[0] if on_failure == "local" else self._names[-1]
        self._on_failure = on_failure

    def choose(self, opinion: Opinion, there: Sequence[str]) -> Choice:
        """`there`: tiers that somebody can answer for."""
        verdict = opinion.verdict
        if verdict is None:
            return Choice(
                self._on_failure,
                f"The classifier gave no answer ({opinion.failure}); "
                f"the configured tier, {self._on_failure}, answers.",
            )
        share = self._route.target_strong_share
        rank = None
        if share is not None:
            rank = self._live.rank(verdict.score, verdict.percentile)
        if verdict.ood and self._route.on_ood is not None:
            tier = self._route.on_ood
            choice = Choice(
                tier, f"The prompt is unlike any that the classifier knows, so {tier} answers."
            )
        else:
            choice = self._by_line(verdict, rank)
            self._explored(choice, there)
        if share is not None:
            self._live.add(verdict.score, share, strong=choice.tier == self._names[-1])
        return choice

    def _by_line(self, verdict: Verdict, rank: float | None) -> Choice:
        route, names = self._route, self._names
        if route.min_quality is not None:
            return self._by_quality(verdict, route.min_quality)
        if route.threshold is not None:
            easy = verdict.score >= route.threshold
            under = 1 - verdict.score / route.threshold if not easy else 0.0
            at = 0 if easy else min(1 + int(under * (len(names) - 1)), len(names) - 1)
            return Choice(
                names[at],
                f"The score {verdict.score:.2f} is {'not ' if easy else ''}under the route's "
                f"threshold {route.threshold:.2f}.",
            )
        share = route.target_strong_share
        if share is not None and rank is not None:
            if self._live.is_strong(rank, share):
                at = len(names) - 1
            else:
                # Tiers between share what is left, evenly.
                rest = min(max((rank - share) / (1 - share), 0.0), 0.999) if share < 1 else 0.0
                at = len(names) - 2 - int(rest * (len(names) - 1))
            return Choice(
                names[at],
                f"Of the route's prompts, {rank:.0%} score lower; "
                f"the hardest {share:.0%} go to the {names[-1]} tier"
                + ("." if at == len(names) - 1 else f", this one to {names[at]}."),
            )
        tier = verdict.tier
        if tier not in names:
            tier = names[0] if tier == "local" else names[-1]
        return Choice(tier, f"The classifier scored it {verdict.score:.2f} and chose {tier}.")

    def _by_quality(self, verdict: Verdict, floor: float) -> Choice:
        """The score is the weakest tier's chance, the strongest answers whatever is left; for
        those between, of which the classifier says nothing, the chance grows in even steps."""
        names, said = self._names, verdict.tiers or {}
        for at, name in enumerate(names[:-1]):
            evenly = verdict.score + (1 - verdict.score) * at / (len(names) - 1)
            chance = said.get(name, evenly)
            if chance >= floor:
                return Choice(
                    name,
                    f"The {name} tier answers well with a chance of {chance:.2f}, "
                    f"not under the floor of {floor:.2f}.",
                )
        return Choice(
            names[-1], f"No tier weaker than {names[-1]} reaches the floor of {floor:.2f}."
        )

    def _explored(self, choice: Choice, there: Sequence[str]) -> None:
        """Another tier, with the chance that the route gives to learning."""
        explore = self._route.explore
        others = [name for name in there if name != choice.tier]
        if not explore or not others or choice.tier not in there:
            return
        if self._toss() >= explore:
            choice.propensity = 1 - explore
            return
        meant = choice.tier
        choice.tier = others[min(int(self._toss() * len(others)), len(others) - 1)]
        choice.propensity = explore / len(others)
        choice.reason += f" It is one of {explore:.1%} that another tier than {meant} answers."


def tiers_in_order(tiers: Mapping[str, object], chosen: str) -> list[str]:
    """The chosen one first; then those stronger than it, then the weaker ones, nearest first."""
    names = list(tiers)
    at = names.index(chosen)
    return [chosen, *names[at + 1 :], *reversed(names[:at])]
