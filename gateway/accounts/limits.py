"""The engine's Admission: who may ask what, and how much of it.

A request is counted in when it comes. When it is known who will be asked, the most that it may
cost is set aside; when it ended, what it did cost is spent and the rest given back.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Mapping, Sequence
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Protocol

from chat.errors import BudgetReached, NotAllowed
from chat.events import Usage
from chat.request import ChatRequest
from chat.trace import Trace
from gateway.accounts import outcome
from gateway.accounts.accounts import Accounts
from gateway.accounts.app import App, nanos
from gateway.accounts.caps import cap
from gateway.accounts.meter import NOTHING, Need
from gateway.accounts.meters import Counts
from gateway.accounts.outcome import Outcome, limit_headers, refusal
from gateway.accounts.sizes import sizes
from gateway.engine.attempt import Attempt
from gateway.engine.ports import Asked, Caller
from gateway.engine.routing import Target

UNLIMITED = frozenset(("admin", "open"))
MAX_WARNED = 1000
OUT_MOST = 10**9
"""Tokens that no answer is longer than: sums of them fit in 64 bits."""
MEND_MOST = 2500
"""Tokens at most of the words that ask for an answer in the right format."""

log = logging.getLogger("pointsman.accounts")


class Prices(Protocol):
    """What a model costs. None where nobody told."""

    def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None: ...

    def most(
        self, provider: str, model: str, input_tokens: int, output_tokens: int
    ) -> Decimal | None: ...


class Limits:
    """`counts`: in memory or in a Redis. Without `prices` none is known."""

    def __init__(self, accounts: Accounts, counts: Counts, prices: Prices | None = None) -> None:
        self.accounts = accounts
        self.counts = counts
        self.prices = prices
        self._warned: set[str] = set()

    def admit(self, asked: Asked, trace: Trace) -> Ticket | Awaitable[Ticket] | None:
        """Raises NotAllowed, LimitReached or BudgetReached."""
        app = self.app_of(asked.caller)
        if app is None:
            return None
        limit = app.max_tokens
        if limit is None and app.reserves and asked.request.sampling.max_tokens is None:
            limit = self.accounts.access.default_max_tokens
        if limit is not None:
            cap(asked, limit)
        return self.enter(app, anthropic=asked.dialect.name == "anthropic")

    def app_of(self, caller: Caller) -> App | None:
        """None for whom nothing limits. Raises NotAllowed for one who was revoked since."""
        if caller.id in UNLIMITED:
            return None
        app = self.accounts.app(caller.id)
        if app is None:
            raise NotAllowed(f"The app code of {caller.name} was revoked.")
        return app

    def enter(self, app: App, *, anthropic: bool = False) -> Ticket | Awaitable[Ticket] | None:
        """Counts one request in. Raises LimitReached or BudgetReached."""
        if not app.limited:
            return Ticket(self, app, anthropic, counted=False) if app.models else None
        ticket = Ticket(self, app, anthropic)
        found = self.counts.admit(app, ticket.id)
        if isinstance(found, Outcome):
            ticket.entered(found)
            return ticket
        return self._entered(ticket, found)

    async def _entered(self, ticket: Ticket, found: Awaitable[Outcome]) -> Ticket:
        # Whoever leaves meanwhile may be counted already, and must be counted out.
        counting = asyncio.ensure_future(found)
        try:
            ticket.entered(await asyncio.shield(counting))
        except asyncio.CancelledError:
            counting.add_done_callback(ticket.left)
            raise
        return ticket

    def most(self, app: App, request: ChatRequest, targets: Sequence[Target], out: int) -> Need:
        """The most that any of the targets may cost. Raises BudgetReached where that is unknown
        and the settings say so."""
        return self._need(app, request, targets, out, sizes(request))

    def again(self, app: App, request: ChatRequest, targets: Sequence[Target], out: int) -> Need:
        """The most that a question about an answer may cost: to mend it, or to go on with it."""
        most, likely = sizes(request)
        return self._need(app, request, targets, out, (most + out + MEND_MOST, likely))

    def _need(
        self,
        app: App,
        request: ChatRequest,
        targets: Sequence[Target],
        out: int,
        size: tuple[int, int],
    ) -> Need:
        most, likely = size
        money = 0
        if app.spends:
            for target in targets:
                money = max(money, self._price(target, most, out))
        return Need(money, most + out, likely + out)

    def _price(self, target: Target, most: int, out: int) -> int:
        provider, model = target.provider.name, target.model
        found = self.prices.most(provider, model, most, out) if self.prices else None
        if found is not None:
            return nanos(found)
        if self.accounts.access.unknown_price == "refuse":
            raise BudgetReached(
                f"Nobody knows what {target.name} costs, and your budget is in money.",
                param="model",
                code="unknown_price",
            )
        if target.name not in self._warned and len(self._warned) < MAX_WARNED:
            self._warned.add(target.name)
            log.warning("no known price", extra={"fields": {"target": target.name}})
        return 0

    def used(self, attempts: Sequence[Attempt], need: Need | None, out: int, stream: bool) -> Need:
        """What the attempts used. Where an upstream that answered did not count, what it said is
        counted: a token for each piece."""
        tokens = money = 0
        for attempt in attempts:
            usage = _counted(attempt, need, out, stream)
            if usage is None:
                continue
            tokens += usage.total_tokens or 0
            if self.prices is not None:
                target = attempt.target
                cost = self.prices.cost(target.provider.name, target.model, usage)
                money += nanos(cost) if cost is not None else 0
        return Need(money, 0, tokens)


class Ticket:
    """The engine's Grant: what one request was let in with."""

    __slots__ = ("_anthropic", "_app", "_counted", "_each", "_limits", "_need", "_out", "_seen",
                 "_stream", "_tokens_seen", "id")  # fmt: skip

    def __init__(self, limits: Limits, app: App, anthropic: bool, *, counted: bool = True) -> None:
        self.id = random.getrandbits(62)
        self._limits = limits
        self._app = app
        self._anthropic = anthropic
        self._counted = counted
        """Something is to be given back."""
        self._need: Need | None = None
        """All that is set aside; `_each` of it for one attempt."""
        self._each: Need | None = None
        self._out = 0
        self._stream = False
        self._seen: Outcome | None = None
        self._tokens_seen: Outcome | None = None

    def entered(self, found: Outcome) -> None:
        """Raises LimitReached or BudgetReached."""
        self._seen = found
        if found.code != outcome.OK:
            self._counted = False
            raise refusal(self._app, found, self.headers)

    def left(self, counting: asyncio.Future[Outcome]) -> None:
        """The caller went while he was being counted."""
        if counting.cancelled() or counting.exception() is not None:
            return
        if counting.result().code == outcome.OK:
            self.settle(())

    def reserve(self, request: ChatRequest, targets: Sequence[Target]) -> Awaitable[None] | None:
        """Raises NotAllowed, LimitReached or BudgetReached."""
        out = request.sampling.max_tokens or self._limits.accounts.access.default_max_tokens
        return self.hold(request, targets, out)

    def check(self, asked: str, targets: Sequence[Target]) -> None:
        """Raises NotAllowed where the caller may not ask these models."""
        if self._app.models:
            check_models(self._app, asked, targets)

    def hold(
        self, request: ChatRequest, targets: Sequence[Target], out: int
    ) -> Awaitable[None] | None:
        """`out`: tokens that the answer has at most. Raises as reserve."""
        app = self._app
        self.check(request.model, targets)
        if not app.reserves or not self._counted:
            return None
        out = min(out, OUT_MOST)
        self._out, self._stream = out, request.stream
        need = self._limits.most(app, request, targets, out)
        if mends(request):
            # An answer that does not keep to its format is asked for once more.
            more = self._limits.again(app, request, targets, out)
            need = Need(need.money + more.money, need.most + more.most, need.likely)
        found = self._limits.counts.reserve(app, self.id, need)
        if isinstance(found, Outcome):
            self._held(found, need)
            return None
        return self._later(found, need)

    async def _later(self, given: Awaitable[Outcome], need: Need) -> None:
        self._held(await given, need)

    def _held(self, found: Outcome, need: Need) -> None:
        self._tokens_seen = found
        if found.code != outcome.OK:
            # The tokens that it may need in its window, or the budget's own kind.
            kind = found.code % outcome.HELD
            asks = need.likely if kind == outcome.TOKENS else need.most
            money = kind in (outcome.MONEY_DAY, outcome.MONEY_MONTH)
            raise refusal(self._app, found, self.headers, need.money if money else asks)
        self._need = self._each = need

    def again(
        self, request: ChatRequest, targets: Sequence[Target], attempts: Sequence[Attempt]
    ) -> Awaitable[None] | None:
        """What an attempt that cost nothing held is there for the next one. Raises as reserve."""
        held, each = self._need, self._each
        if held is None or each is None or not self._counted:
            return None
        if any(attempt.first_at is not None for attempt in attempts):
            # The next one may be asked to go on with a text.
            more = self._limits.again(self._app, request, targets, self._out)
            each = Need(max(each.money, more.money), max(each.most, more.most), 0)
        times = 1 + sum(may_cost(attempt) for attempt in attempts)
        need = Need(
            max(0, each.money * times - held.money), max(0, each.most * times - held.most), 0
        )
        if not need.money and not need.most:
            return None
        found = self._limits.counts.reserve(self._app, self.id, need)
        if isinstance(found, Outcome):
            self._held_more(found, need)
            return None
        return self._more_later(found, need)

    async def _more_later(self, given: Awaitable[Outcome], need: Need) -> None:
        self._held_more(await given, need)

    def _held_more(self, found: Outcome, need: Need) -> None:
        if found.code != outcome.OK:
            money = found.code % outcome.HELD in (outcome.MONEY_DAY, outcome.MONEY_MONTH)
            raise refusal(self._app, found, {}, need.money if money else need.most)
        held = self._need
        assert held is not None
        self._need = Need(held.money + need.money, held.most + need.most, held.likely)

    def settle(self, attempts: Sequence[Attempt]) -> None:
        if not self._counted:
            return
        self._counted = False
        need = self._need
        used = NOTHING
        if self._app.reserves and attempts:
            used = self._limits.used(attempts, need, self._out, self._stream)
        slot = self._tokens_seen.ticket if self._tokens_seen is not None else 0
        self._limits.counts.settle(self._app, self.id, need, used, slot)

    @property
    def headers(self) -> Mapping[str, str]:
        if self._seen is None:
            return {}
        return limit_headers(self._app, self._seen, self._tokens_seen, self._anthropic)


def check_models(app: App, asked: str, targets: Sequence[Target]) -> None:
    """A pattern with a slash is compared with the targets, one without with what was asked and
    with the targets' models. Raises NotAllowed unless every target passes, or the name asked."""
    plain = [pattern for pattern in app.models if "/" not in pattern]
    if any(fnmatchcase(asked, pattern) for pattern in plain):
        return
    for target in targets:
        model = target.model
        if not any(
            fnmatchcase(target.name, pattern) if "/" in pattern else fnmatchcase(model, pattern)
            for pattern in app.models
        ):
            raise NotAllowed(
                f"{app.name} may not ask {asked[:100]!r}; it may ask {', '.join(app.models)}.",
                param="model",
                code="model_not_allowed",
            )


def mends(request: ChatRequest) -> bool:
    """It may be asked twice of one target."""
    shape = request.response_format
    return shape is not None and shape.kind != "text"


def may_cost(attempt: Attempt) -> bool:
    """It runs, or it got an answer or a count of tokens."""
    return (
        not attempt.outcome
        or attempt.outcome == "cancelled"
        or attempt.first_at is not None
        or attempt.usage.total_tokens is not None
    )


def _counted(attempt: Attempt, need: Need | None, out: int, stream: bool) -> Usage | None:
    """None where nobody need pay."""
    usage = attempt.usage
    came, went = usage.input_tokens, usage.output_tokens
    if came is not None and went is not None:
        return usage
    if attempt.first_at is None:
        # It never answered: what it said of itself is all.
        return None if usage.total_tokens is None else usage
    if came is None and need is not None:
        came = need.likely - out
    if went is None:
        went = min(attempt.seen, out) if stream or attempt.outcome != "finished" else out
    return usage.merged(Usage(input_tokens=came, output_tokens=went))
