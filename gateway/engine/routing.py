"""From a request to a plan: the ordered targets, and the reason in one sentence.

A model that the caller names goes there and nowhere else; several that he names, one after the
other. A route ("auto") asks the classifier; its tier's targets come first, the other tiers'
behind them, so that an answer is still found when a whole tier fails. Who is known to lack what
is asked for is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat.errors import BadRequest, BudgetReached, NoTargetLeft
from chat.request import ChatRequest, Json
from chat.trace import Trace
from gateway.engine.capabilities import Lack, Needs, lacks, needs, refusal
from gateway.engine.estimate import estimate
from gateway.engine.learned import Learned
from gateway.engine.names import Names, ProviderOff, Target, once
from gateway.engine.policy import Policy, tiers_in_order
from gateway.engine.ports import Classifier, Directory, Opinion, Prices, Recorder
from gateway.settings import Route

__all__ = ["Plan", "ProviderOff", "Router", "Target", "prompt_of"]

NAMED = "named"
NOTHING: Mapping[str, Json] = {}
USUAL_ANSWER = 400
"""Tokens, where nobody foretells the length."""


@dataclass(frozen=True, slots=True)
class Plan:
    targets: tuple[Target, ...]
    hedge_s: float | None = None
    """Silence after which the next target is asked beside the first."""
    resume: bool = False
    least_context: int | None = None
    """The smallest that is known."""


class Router:
    def __init__(
        self,
        directory: Directory,
        routes: Mapping[str, Route],
        aliases: Mapping[str, str | Sequence[str]],
        classifier: Classifier,
        recorder: Recorder,
        on_failure: str,
        learned: Learned | None = None,
        prices: Prices | None = None,
    ) -> None:
        self._directory = directory
        self._routes = routes
        self._aliases = aliases
        self._classifier = classifier
        self._recorder = recorder
        self.learned = learned if learned is not None else Learned()
        self.prices = prices
        self._names = Names(directory, routes, aliases)
        self._policies = {
            name: Policy(route, on_failure, self.learned.share(name))
            for name, route in routes.items()
        }
        self._tiers: dict[str, dict[str, tuple[Target, ...]]] = {}
        self._plans: dict[str, Plan] = {}
        self.refresh()

    def refresh(self) -> None:
        """The directory learned something: default models, bare names and abilities are looked
        up anew."""
        self._tiers = {
            name: {
                tier: once(target for one in names for target in self._names.configured(one))
                for tier, names in route.ordered().items()
            }
            for name, route in self._routes.items()
        }
        self._plans = {}

    async def plan(
        self,
        request: ChatRequest,
        trace: Trace,
        body: Mapping[str, Json] = NOTHING,
        models: Sequence[str] = (),
    ) -> Plan:
        """`body` is the caller's own, for the names of its fields; `models` whom to ask behind
        the request's own. Raises ModelNotFound, BadRequest for what nobody of the plan can do,
        or NoTargetLeft when a route has nobody to ask."""
        plan = self._plans.get(request.model)
        if plan is None:
            route = self._names.route(request.model)
            if route is not None:
                return await self._routed(route, request, trace, body, models)
            plan = self._named(request.model)
        trace.route = NAMED
        trace.reason = "The caller named the model."
        if models:
            plan = _plan_of((*plan.targets, *self._behind(models)))
            trace.reason = f"The caller named {len(plan.targets)} models, in this order."
        elif len(plan.targets) > 1:
            trace.reason = f"The caller named {request.model}, which is {len(plan.targets)} models."
        wanted = needs(request, plan.least_context)
        if wanted is None:
            return plan
        targets = self._able(plan.targets, wanted, body, trace, strict=True)
        return plan if len(targets) == len(plan.targets) else Plan(targets)

    def route(self, name: str) -> str | None:
        """The route that a name stands for."""
        return self._names.route(name)

    def targets(self, name: str) -> tuple[Target, ...]:
        """Whom a name that is no route stands for. Raises ModelNotFound or ProviderOff."""
        return self._names.targets(name)

    def tiers(self, route: str) -> Mapping[str, tuple[Target, ...]]:
        """Who answers for a route, by tier, weakest first."""
        return self._tiers[route]

    def models(self) -> list[str]:
        """Every name that a caller may write, routes first."""
        names = [*self._routes, *self._aliases]
        for provider, models in self._directory.known().items():
            names += [f"{provider}/{model}" for model in models]
        return names

    def _named(self, name: str) -> Plan:
        plan = _plan_of(self._names.targets(name))
        # Bounded, since a caller can name any model.
        if len(self._plans) > 1000:
            self._plans.clear()
        self._plans[name] = plan
        return plan

    def _behind(self, models: Sequence[str]) -> list[Target]:
        found: list[Target] = []
        for name in models:
            if self._names.route(name) is not None:
                raise BadRequest(
                    f"{name!r} is a route: it can stand in model, not in models.", param="models"
                )
            found += self._names.targets(name)
        return found

    async def _routed(
        self,
        name: str,
        request: ChatRequest,
        trace: Trace,
        body: Mapping[str, Json],
        models: Sequence[str],
    ) -> Plan:
        trace.route = name
        route, tiers = self._routes[name], self._tiers[name]
        if not any(tiers.values()):
            raise NoTargetLeft(
                f"The route {name!r} has nobody to ask: no provider of its tiers is on."
            )
        opinion = await self._classifier.ask(prompt_of(request))
        self._note(opinion, trace)
        there = [tier for tier, targets in tiers.items() if targets]
        choice = self._policies[name].choose(opinion, there)
        trace.tier, trace.reason = choice.tier, choice.reason
        trace.propensity = choice.propensity
        self._recorder.classified(opinion, choice.tier)
        if not tiers[choice.tier]:
            trace.reason += f" No target of the {choice.tier} tier is on, so another answers."
        ordered = [
            target
            for tier in tiers_in_order(tiers, choice.tier)
            for target in self._ordered(route, tiers[tier], request, opinion)
        ]
        targets = once((*ordered, *self._behind(models)))
        least = _least(targets)
        wanted = needs(request, least)
        if wanted is not None:
            targets = self._able(targets, wanted, body, trace)
        if route.max_cost is not None:
            targets = self._affordable(targets, route.max_cost, request, opinion, trace)
        # Where nobody answered at the last look, an Ollama that is not installed for one, is
        # asked last: no caller pays for finding it out again.
        answers = self._directory.answers
        targets = tuple(sorted(targets, key=lambda target: not answers(target.provider.name)))
        trace.tell(
            "routed",
            route=name,
            tier=choice.tier,
            score=trace.score,
            domain=trace.domain,
            reason=trace.reason,
        )
        hedge = route.hedge_after_ms
        return Plan(targets, None if hedge is None else hedge / 1000, route.resume, least)

    def _note(self, opinion: Opinion, trace: Trace) -> None:
        trace.classifier_ms = opinion.milliseconds
        verdict = opinion.verdict
        if verdict is not None:
            trace.score = verdict.score
            trace.domain = verdict.domain
            trace.classifier_version = verdict.version

    def _ordered(
        self, route: Route, targets: Sequence[Target], request: ChatRequest, opinion: Opinion
    ) -> Sequence[Target]:
        """A tier's targets as the route wants them. Who has no price comes last, who was never
        asked first: so its pace gets known."""
        if route.order == "given" or len(targets) < 2:
            return targets
        if route.order == "latency":
            pace = self.learned.first_s
            return sorted(targets, key=lambda target: pace.get(target.name, 0.0))
        prices = self._prices(targets, request, opinion)
        return sorted(targets, key=lambda target: _or_last(prices[target.name]))

    def _prices(
        self, targets: Sequence[Target], request: ChatRequest, opinion: Opinion
    ) -> dict[str, float | None]:
        """What this request is expected to cost at each."""
        if self.prices is None:
            return {target.name: None for target in targets}
        asked = estimate(request)
        length: float = USUAL_ANSWER
        if opinion.verdict is not None and opinion.verdict.length is not None:
            length = opinion.verdict.length
        if request.sampling.max_tokens is not None:
            length = min(length, request.sampling.max_tokens)
        return {
            target.name: self.prices.estimate(target.provider.name, target.model, asked, length)
            for target in targets
        }

    def _affordable(
        self,
        targets: tuple[Target, ...],
        ceiling: float,
        request: ChatRequest,
        opinion: Opinion,
        trace: Trace,
    ) -> tuple[Target, ...]:
        """Those under the ceiling, and those without a price. Raises BudgetReached."""
        prices = self._prices(targets, request, opinion)
        kept = []
        for target in targets:
            price = prices[target.name]
            if price is None or price <= ceiling:
                kept.append(target)
            else:
                trace.reason += (
                    f" {target.name} left out: about {price:.2g}, over the ceiling of {ceiling:g}."
                )
        if not kept:
            raise BudgetReached(
                f"Every target of the route {trace.route!r} is expected to cost more than its "
                f"ceiling of {ceiling:g} for one request.",
                code="max_cost",
            )
        return tuple(kept)

    def _able(
        self,
        targets: tuple[Target, ...],
        wanted: Needs,
        body: Mapping[str, Json],
        trace: Trace,
        *,
        strict: bool = False,
    ) -> tuple[Target, ...]:
        """Those that can what is asked. Raises BadRequest when nobody can; `strict`: also when
        the only one is known not to think, since it would refuse."""
        kept: list[Target] = []
        lacking: list[tuple[Target, Lack]] = []
        for target in targets:
            missing = lacks(target.can, wanted)
            if missing:
                lacking.append((target, min(missing, key=lambda lack: lack.wish)))
            else:
                kept.append(target)
        if not lacking:
            return targets
        if not kept:
            kept = [target for target, lack in lacking if lack.wish]
            thoughtless = len(targets) == 1 and lacking[0][1].need == "thinking"
            if not kept or (strict and thoughtless):
                raise refusal([(target.name, lack) for target, lack in lacking], body)
            lacking = [(target, lack) for target, lack in lacking if not lack.wish]
        for target, lack in lacking:
            trace.reason += f" {target.name} left out: {lack.words}."
        return tuple(kept)


def prompt_of(request: ChatRequest) -> str:
    """What the classifier reads: the last thing that the user said."""
    for message in reversed(request.messages):
        if message.role == "user" and (text := message.text):
            return text
    return " ".join(message.text for message in request.messages).strip()


def _plan_of(targets: Sequence[Target]) -> Plan:
    found = once(targets)
    return Plan(found, least_context=_least(found))


def _least(targets: Sequence[Target]) -> int | None:
    known = [target.can.context for target in targets if target.can.context is not None]
    return min(known, default=None)


def _or_last(price: float | None) -> float:
    return float("inf") if price is None else price
