"""From a request to a plan: the ordered targets, and the reason in one sentence.

A model that the caller names goes there and nowhere else. A route ("auto") asks the classifier;
its tier's targets come first, the other tier's behind them, so that an answer is still found
when a whole tier fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chat.errors import GatewayError, ModelNotFound, NoTargetLeft
from chat.request import ChatRequest
from chat.trace import Trace
from gateway.engine.ports import Classifier, Directory, Opinion, Provider, Recorder, Verdict
from gateway.settings import Route

NAMED = "named"


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider."""

    provider: Provider
    model: str
    name: str
    """provider/model"""


@dataclass(frozen=True, slots=True)
class Plan:
    targets: tuple[Target, ...]


class Router:
    def __init__(
        self,
        directory: Directory,
        routes: Mapping[str, Route],
        aliases: Mapping[str, str],
        classifier: Classifier,
        recorder: Recorder,
        on_failure: str,
    ) -> None:
        self._directory = directory
        self._routes = routes
        self._aliases = aliases
        self._classifier = classifier
        self._recorder = recorder
        self._on_failure = on_failure
        self._tiers: dict[str, dict[str, tuple[Target, ...]]] = {}
        self._plans: dict[str, Plan] = {}
        self.refresh()

    def refresh(self) -> None:
        """The directory learned something: default models and bare names are looked up anew."""
        self._tiers = {name: self._resolved(route) for name, route in self._routes.items()}
        self._plans = {}

    async def plan(self, request: ChatRequest, trace: Trace) -> Plan:
        """Raises ModelNotFound, or NoTargetLeft when a route has nobody to ask."""
        name = self._aliases.get(request.model, request.model)
        if name in self._routes:
            return await self._routed(name, request, trace)
        plan = self._named(name, asked=request.model)
        trace.route = NAMED
        trace.reason = "The caller named the model."
        return plan

    def tiers(self, route: str) -> Mapping[str, tuple[Target, ...]]:
        """Who answers for a route, by tier."""
        return self._tiers[route]

    def models(self) -> list[str]:
        """Every name that a caller may write, routes first."""
        names = [*self._routes, *self._aliases]
        for provider, models in self._directory.known().items():
            names += [f"{provider}/{model}" for model in models]
        return names

    async def _routed(self, name: str, request: ChatRequest, trace: Trace) -> Plan:
        trace.route = name
        tiers = self._tiers[name]
        if not any(tiers.values()):
            raise NoTargetLeft(
                f"The route {name!r} has nobody to ask: no provider of its tiers is on."
            )
        opinion = await self._classifier.ask(prompt_of(request))
        trace.classifier_ms = opinion.milliseconds
        tier = self._tier(name, opinion, trace)
        self._recorder.classified(opinion, tier)
        trace.tier = tier
        first = tiers[tier]
        behind = tuple(
            target
            for other, targets in tiers.items()
            if other != tier
            for target in targets
            if target not in first
        )
        if not first:
            trace.reason += f" No target of the {tier} tier is on, so the other tier answers."
        trace.tell(
            "routed",
            route=name,
            tier=tier,
            score=trace.score,
            domain=trace.domain,
            reason=trace.reason,
        )
        # Where nobody answered at the last look, an Ollama that is not installed for one, is
        # asked last: no caller pays for finding it out again.
        ordered = sorted(
            first + behind, key=lambda target: not self._directory.answers(target.provider.name)
        )
        return Plan(tuple(ordered))

    def _tier(self, name: str, opinion: Opinion, trace: Trace) -> str:
        verdict = opinion.verdict
        if verdict is None:
            trace.reason = (
                f"The classifier gave no answer ({opinion.failure}); "
                f"the configured tier, {self._on_failure}, answers."
            )
            return self._on_failure
        trace.score = verdict.score
        trace.domain = verdict.domain
        trace.classifier_version = verdict.version
        tier, why = _decided(self._routes[name], verdict)
        trace.reason = why
        return tier

    def _named(self, name: str, asked: str) -> Plan:
        plan = self._plans.get(name)
        if plan is None:
            plan = Plan((self._found(name, asked),))
            # Bounded, since a caller can name any model.
            if len(self._plans) > 1000:
                self._plans.clear()
            self._plans[name] = plan
        return plan

    def _found(self, name: str, asked: str) -> Target:
        head, slash, model = name.partition("/")
        if slash and model and head in self._directory.providers:
            return self._target(head, model)
        if slash and (why := self._directory.why_off(head)) is not None:
            raise ProviderOff(f"The provider {head!r} is off: {why}.")
        for provider, models in self._directory.known().items():
            if name in models or f"{name}:latest" in models:
                return self._target(provider, name)
        raise ModelNotFound(asked, self._directory.nearest(asked, [*self._routes, *self._aliases]))

    def _target(self, provider: str, model: str) -> Target:
        return Target(self._directory.providers[provider], model, f"{provider}/{model}")

    def _resolved(self, route: Route) -> dict[str, tuple[Target, ...]]:
        """The targets whose provider is on; a bare provider stands for its default model."""
        return {
            tier: tuple(target for name in names if (target := self._configured(name)) is not None)
            for tier, names in (("local", route.local), ("strong", route.strong))
        }

    def _configured(self, name: str) -> Target | None:
        provider, _, model = self._aliases.get(name, name).partition("/")
        if provider not in self._directory.providers:
            return None
        model = model or self._directory.default_model(provider) or ""
        return self._target(provider, model) if model else None


class ProviderOff(GatewayError):
    """The caller names a provider that has no key here."""

    status = 404
    kind = "model_not_found"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model", code="provider_off")


def prompt_of(request: ChatRequest) -> str:
    """What the classifier reads: the last thing that the user said."""
    for message in reversed(request.messages):
        if message.role == "user" and (text := message.text):
            return text
    return " ".join(message.text for message in request.messages).strip()


def _decided(route: Route, verdict: Verdict) -> tuple[str, str]:
    share = route.target_strong_share
    if route.threshold is not None:
        easy = verdict.score >= route.threshold
        return (
            "local" if easy else "strong",
            f"The score {verdict.score:.2f} is {'not ' if easy else ''}under the route's "
            f"threshold {route.threshold:.2f}.",
        )
    if share is not None and verdict.percentile is not None:
        easy = verdict.percentile >= share
        return (
            "local" if easy else "strong",
            f"Of the reference prompts, {verdict.percentile:.0%} score lower; "
            f"the hardest {share:.0%} go to the strong tier.",
        )
    return verdict.tier, f"The classifier scored it {verdict.score:.2f} and chose {verdict.tier}."
