"""The breaker of one target, by hypothesis: attempts that begin and end in any order, and time."""

from __future__ import annotations

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chat.errors import Broken, Denied, Limit, Rejected, Timeout, UpstreamError
from gateway.engine.cooldown import MAX_LIMIT_S, CooldownTable
from gateway.settings import Cooldown

SETTINGS = Cooldown(failures=3, rest_s=5, max_s=40, denied_s=300, limit_s=10, window_s=30)
FAILURES = st.sampled_from(("broken", "timeout"))


class Breaker(RuleBasedStateMachine):
    """`running`: tickets of the attempts on their way; a ticket above 0 is a probe."""

    @initialize()
    def begin(self) -> None:
        self.now = 1000.0
        self.table = CooldownTable(SETTINGS, lambda: self.now)
        self.running: list[int] = []
        self.firm_until = 0.0

    @rule(seconds=st.integers(1, 100))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(early=st.booleans())
    def an_attempt_begins(self, early: bool) -> None:
        resting = self.table.resting("a/m")
        ticket = self.table.enter("a/m", early=early)
        if ticket is None:
            assert resting is not None
            return
        if resting is not None:
            assert early
            assert not resting.firm
        assert self.now >= self.firm_until
        self.running.append(ticket)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def an_attempt_answers(self, data: st.DataObject) -> None:
        ticket = self._one(data)
        self.table.answered("a/m", ticket)
        self.table.succeeded("a/m")

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def an_attempt_commits_and_goes_on(self, data: st.DataObject) -> None:
        self.table.answered("a/m", self._one(data))
        self.running.append(0)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kind=FAILURES)
    def an_attempt_fails(self, data: st.DataObject, kind: str) -> None:
        error: UpstreamError = Broken("no") if kind == "broken" else Timeout("slow")
        self.table.failed("a/m", error, self._one(data))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def an_attempt_is_left(self, data: st.DataObject) -> None:
        before = self._seen()
        ticket = self._one(data)
        self.table.left("a/m", ticket)
        if not ticket:
            assert self._seen() == before

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def the_request_is_wrong(self, data: st.DataObject) -> None:
        before = self._seen()
        ticket = self._one(data)
        self.table.failed("a/m", Rejected("bad"), ticket)
        if not ticket:
            assert self._seen() == before

    @precondition(lambda self: self.running)
    @rule(data=st.data(), asked=st.one_of(st.none(), st.integers(0, 10**12)))
    def the_upstream_limits(self, data: st.DataObject, asked: int | None) -> None:
        self.table.failed("a/m", Limit("slow", retry_after=asked), self._one(data))
        wait = SETTINGS.limit_s if asked is None else min(asked, MAX_LIMIT_S)
        self.firm_until = max(self.firm_until, self.now + wait)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def the_key_is_refused(self, data: st.DataObject) -> None:
        self.table.failed("a/m", Denied("no"), self._one(data))
        self.firm_until = max(self.firm_until, self.now + SETTINGS.denied_s)

    @invariant()
    def there_is_never_more_than_one_probe(self) -> None:
        assert sum(ticket > 0 for ticket in getattr(self, "running", ())) <= 1

    @invariant()
    def a_rest_ends(self) -> None:
        if hasattr(self, "table") and (rest := self.table.resting("a/m")):
            assert rest.seconds <= max(SETTINGS.max_s, SETTINGS.denied_s, MAX_LIMIT_S)

    def _one(self, data: st.DataObject) -> int:
        return self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))

    def _seen(self) -> tuple[bool, float]:
        rest = self.table.resting("a/m")
        return self.table.calm(), rest.seconds if rest else 0.0


TestBreaker = Breaker.TestCase
TestBreaker.settings = hypothesis_settings(max_examples=60, stateful_step_count=30)
