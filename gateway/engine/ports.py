"""What the engine needs from others, and no more than that."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chat.errors import UpstreamError
from chat.events import Batch, Usage
from chat.request import ChatRequest, Json
from chat.trace import Trace
from dialects.base import InboundDialect, OutboundDialect
from dialects.framing import Frame
from providers.model_info import Abilities
from providers.tap import Tap

if TYPE_CHECKING:
    from gateway.engine.attempt import Attempt
    from gateway.engine.routing import Target


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. What he may do is kept with his accounts, under his id."""

    id: str
    """Of an app code, never the code itself; "open" for the local mode without keys, "admin"."""
    name: str
    admin: bool = False
    priority: int = 0
    """The higher goes first where callers wait."""


OPEN = Caller("open", "open")
"""Anybody, where no key is asked for."""


@dataclass(slots=True)
class Asked:
    """A question, and the language in which it was asked."""

    dialect: InboundDialect
    request: ChatRequest
    body: dict[str, Json]
    """As the caller sent it; a dialect that both ends speak passes it on."""
    models: tuple[str, ...] = ()
    """Whom to ask behind the request's own model, in this order, as the caller wishes."""
    caller: Caller = OPEN
    grant: Grant | None = None
    """Given by the Admission."""


class Grant(Protocol):
    """What one request was let in with. Settled exactly once, when the request ends."""

    def reserve(self, request: ChatRequest, targets: Sequence[Target]) -> Awaitable[None] | None:
        """Before anybody is asked: sets aside the most that this may cost. Nothing to await
        where it is known in memory. Raises BudgetReached or LimitReached."""
        ...

    def again(
        self, request: ChatRequest, targets: Sequence[Target], attempts: Sequence[Attempt]
    ) -> Awaitable[None] | None:
        """Before one attempt more: sets aside for it what `attempts` do not leave over. Raises
        BudgetReached, LimitReached or QueueFull."""
        ...

    def settle(self, attempts: Sequence[Attempt]) -> None:
        """Gives back what was not used; attempts that failed cost, too."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """For the answer: x-ratelimit-* and the like."""
        ...


class Admission(Protocol):
    """Who may ask what, and how much of it."""

    def admit(self, asked: Asked, trace: Trace) -> Grant | Awaitable[Grant] | None:
        """None where nothing limits this caller. Raises NotAllowed, LimitReached,
        BudgetReached or QueueFull."""
        ...


Leave = Callable[[], None]
"""Ends a turn. Called once, when the request ends."""
Told = Callable[[int, float], None]
"""Called with a place (1 is next) and the seconds that the wait may take at most."""


class Turns(Protocol):
    """Who may ask a route now, where only so many may at once."""

    def enter(self, route: str, caller: Caller, told: Told) -> Leave | Awaitable[Leave] | None:
        """None where nobody counts. To be awaited where he has to wait; a caller who is cancelled
        meanwhile has left. Raises QueueFull."""
        ...


class Sink(Protocol):
    """The caller's end of a stream, for what need not wait."""

    def ready(self) -> bool:
        """A piece may be written now: the answer was begun, he keeps up, and nothing else is on
        its way to him."""
        ...

    def put(self, piece: bytes) -> None:
        """Writes it. Only when `ready`."""
        ...


class Provider(Protocol):
    """Someone we can ask."""

    name: str

    @property
    def dialect(self) -> OutboundDialect: ...

    def stream(
        self, request: ChatRequest, model: str, tap: Tap[Batch] | None = None
    ) -> AsyncGenerator[Batch, None]:
        """Events as they come. Raises UpstreamError. `tap`, where it is used at all, has those
        that are then not yielded."""
        ...

    async def whole(self, request: ChatRequest, model: str) -> Batch:
        """Events of a whole answer. Raises UpstreamError."""
        ...

    def relay(
        self,
        body: dict[str, Json],
        model: str,
        stream: bool,
        tap: Tap[Sequence[Frame]] | None = None,
    ) -> AsyncGenerator[Sequence[Frame], None]: ...

    async def relay_whole(self, body: dict[str, Json], model: str) -> dict[str, Json]:
        """The upstream's own answer. Raises UpstreamError."""
        ...

    def scrub(self, error: UpstreamError) -> None:
        """Takes our key out of what the upstream said: some repeat it."""
        ...


class Directory(Protocol):
    """Who is on, who is off and why, and what models they have."""

    @property
    def providers(self) -> Mapping[str, Provider]: ...

    def default_model(self, provider: str) -> str | None: ...

    def answers(self, provider: str) -> bool:
        """False when nobody answered at its address at the last look."""
        ...

    def why_off(self, provider: str) -> str | None:
        """None when there is no such provider, or when it is on."""
        ...

    def known(self) -> Mapping[str, Sequence[str]]: ...

    def abilities(self, provider: str, model: str) -> Abilities: ...

    def nearest(self, name: str, extra: Sequence[str] = ()) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the classifier says of one prompt."""

    tier: str
    score: float
    """Chance that the small model answers well, 0..1."""
    percentile: float | None
    """Share of the classifier's reference prompts with a lower score."""
    domain: str | None
    version: str | None
    length: float | None = None
    """Tokens that the answer is expected to have."""
    sure: float | None = None
    """How certain the classifier is of the tier, 0..1."""
    ood: bool = False
    """Unlike anything that the classifier learnt from."""
    tiers: Mapping[str, float] | None = None
    """Chance of each tier to answer well."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """The classifier's answer, or why there is none."""

    verdict: Verdict | None
    milliseconds: float
    failure: str | None = None
    cached: bool = False


class Classifier(Protocol):
    async def ask(self, prompt: str) -> Opinion:
        """Never raises and never takes longer than its deadline."""
        ...


class Prices(Protocol):
    """What answers cost, in the currency of the price list."""

    def estimate(
        self, provider: str, model: str, input_tokens: float, output_tokens: float
    ) -> float | None:
        """None where nobody told a price."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that was given before."""

    provider: Provider
    """Says it again; its name is that of the one who said it first."""
    model: str
    usage: Usage


class Slot(Protocol):
    """The place of one question's answer."""

    route: str

    async def found(self) -> Kept | None: ...

    def taped(self, provider: Provider) -> Provider:
        """The same one, but heard."""
        ...

    def keep(self, provider: Provider, model: str) -> None:
        """The answer of a `taped` one came to its end."""
        ...


class AnswerCache(Protocol):
    """Answers that are given again."""

    def look(self, asked: Asked, trace: Trace) -> Slot | None:
        """None where answers are not kept."""
        ...


@dataclass(slots=True)
class Settlement:
    """How one request ended; made once for each request, whatever happened."""

    outcome: str
    """finished, failed or cancelled."""
    door: str
    trace: Trace
    usage: Usage
    committed: bool
    error: str | None = None
    """kind of the error."""
    caller: Caller = OPEN
    attempts: Sequence[Attempt] = ()
    """All of them, in the order in which they began."""
    request: ChatRequest | None = None
    """What was asked; None for what is no chat."""


class Recorder(Protocol):
    """Where things are written down."""

    def attempt(self, provider: str, model: str, outcome: str) -> None: ...

    def classified(self, opinion: Opinion, tier: str) -> None: ...

    def settle(self, settlement: Settlement) -> None: ...


class Rests(Protocol):
    """Which targets rest, and for how long (seconds). A `probe` is the ticket of an attempt that
    finds out whether a target is well again; 0 for any other attempt."""

    def calm(self) -> bool:
        """Nobody rests, for certain: asked first, as it costs less."""
        ...

    def resting(self, target: str) -> Rest | None: ...

    def enter(self, target: str, *, early: bool = False) -> int | Awaitable[int | None] | None:
        """Before an attempt: 0, a probe's ticket, or None when it may not be asked now. `early`:
        nobody else is left, so a rest of our own caution may be probed before its end. Awaited
        only for a probe that other processes have to agree to."""
        ...

    def answered(self, target: str, probe: int) -> None:
        """The first event came."""
        ...

    def failed(self, target: str, error: UpstreamError, probe: int = 0) -> None: ...

    def succeeded(self, target: str) -> None: ...

    def left(self, target: str, probe: int) -> None:
        """The attempt was given up without a verdict."""
        ...


class Progress(Protocol):
    """What is told of an attempt while it runs."""

    usage: Usage
    seen: int
    """Counts whatever the upstream said; pings and comments say nothing."""


@dataclass(frozen=True, slots=True)
class Rest:
    seconds: float
    error: UpstreamError
    """The failure that it rests from."""
    firm: bool
    """The upstream itself asked for it (429, 401): not to be broken even when no one else is
    left."""
