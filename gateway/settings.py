"""What may be set: sections of frozen values, each with its default and its bounds."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.terms import SeedTerms

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=16, decimal_places=6)]
TargetList = tuple[str, ...]


class SettingsError(ValueError):
    """What is wrong and where, one line a fault."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port."""
    body_limit: int = Field(default=64 * 2**20, ge=1024)
    """Bytes of a request's body."""
    message_limit: int = Field(default=400_000, ge=1)
    """Characters of text in a request."""
    max_in_flight: int = Field(default=2000, ge=1)
    """Requests that run at once in a process; more are told to come back (503)."""
    max_lag_ms: float = Field(default=250, gt=0, le=60_000)
    """How late the process may be, twice running, before it turns some requests away (503)."""
    max_messages: int = Field(default=5000, ge=1)
    """Messages of one request."""
    head_s: Seconds = 30
    """How long a new connection may take to send the head of its first request."""
    body_s: Seconds = 60
    """How long a caller may take to send a request's body."""
    drain_s: Seconds = 20
    """How long open streams may go on after SIGTERM."""


class Classifier(_Section):
    url: str = "http://127.0.0.1:8000"
    timeout_ms: float = Field(default=80, gt=0, le=10_000)
    on_failure: Literal["local", "strong"] = "strong"
    """Which tier answers when the classifier cannot."""
    cache_size: int = Field(default=2048, ge=0)
    """Verdicts kept, the least recently used goes first; 0 keeps none."""
    cache_s: Seconds = 300
    max_chars: int = Field(default=4000, ge=100)
    """Characters of a prompt that are sent to it: its head and its tail."""


class Route(_Section):
    """What a model name that is no model means: its tiers, and where the line is between them."""

    local: TargetList = ()
    strong: TargetList = ()
    tiers: dict[str, TargetList] = Field(default_factory=dict)
    """More tiers, weakest first; `local` stands before them and `strong` behind them."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Score under which a prompt goes to a stronger tier."""
    target_strong_share: float | None = Field(default=None, ge=0, le=1)
    """Share of prompts for the strongest tier, kept on the route's own traffic. None of these
    three: the classifier's card decides."""
    min_quality: float | None = Field(default=None, ge=0, le=1)
    """The weakest tier whose chance to answer well is at least this one."""
    max_cost: float | None = Field(default=None, gt=0)
    """Ceiling of one request's expected cost, in the currency of the prices."""
    on_ood: str | None = None
    """Tier of prompts unlike any that the classifier learnt from; None: as any other."""
    order: Literal["given", "price", "latency"] = "given"
    """Of the targets in a tier."""
    explore: float = Field(default=0.0, ge=0, le=0.5)
    """Share of requests that another tier answers than the one chosen, to learn from."""
    hedge_after_ms: float | None = Field(default=None, ge=1, le=600_000)
    """Silence after which the next target is asked beside the first."""
    queue: bool = False
    """With max_in_flight: callers beyond it wait their turn instead of a 503."""
    max_in_flight: int | None = Field(default=None, ge=1)
    """Answers at once, in each process."""
    resume: bool = False
    """After a failure in mid-stream the next target that can goes on with the text."""
    cache_s: float = Field(default=0.0, ge=0, le=2_592_000)
    """How long an answer is given again to the same question; 0 keeps none."""
    cache_shared: bool = False
    """Also to other callers."""
    cache_any_temperature: bool = False
    """Also where the caller asks for a temperature above 0."""

    @model_validator(mode="after")
    def _one_line(self) -> Route:
        lines = [
            name
            for name in ("threshold", "target_strong_share", "min_quality")
            if getattr(self, name) is not None
        ]
        if len(lines) > 1:
            raise ValueError(f"{' and '.join(lines)} are two lines; a route has one")
        if self.on_ood is not None and self.on_ood not in self.ordered():
            raise ValueError(f"on_ood must be one of {', '.join(self.ordered())}")
        if {"local", "strong"} & self.tiers.keys():
            raise ValueError("tiers: local and strong stand beside them, not in them")
        return self

    def ordered(self) -> dict[str, TargetList]:
        """Every tier, weakest first. Local and strong are there unless others stand alone."""
        ends = {"local": self.local, "strong": self.strong}
        if self.tiers:
            ends = {name: targets for name, targets in ends.items() if targets}
        found = {"local": ends["local"]} if "local" in ends else {}
        found.update(self.tiers)
        if "strong" in ends:
            found["strong"] = ends["strong"]
        return found


class Model(_Section):
    """What the owner says of a model; None leaves the word to its upstream."""

    context: int | None = Field(default=None, ge=1)
    """Tokens of question and answer together."""
    tools: bool | None = None
    vision: bool | None = None
    json_: bool | None = Field(default=None, alias="json")
    """Answers by a schema."""
    thinking: bool | None = None
    prefill: bool | None = None
    """It goes on where an assistant's last message stops."""


class Attempts(_Section):
    per_target: int = Field(default=2, ge=1, le=10)
    first_event_s: Seconds = 20
    idle_s: Seconds = 60
    one_shot_s: Seconds = 600
    total_s: Seconds = 120
    """Until the first event, over all targets."""
    backoff_ms: float = Field(default=200, ge=0, le=60_000)
    """First wait before a retry; doubles, with full jitter."""
    retry_wait_s: Seconds = 5
    """Longest wait that an upstream may ask for before a retry; for more the next one is asked."""
    retry_share: float = Field(default=0.2, ge=0, le=10)
    """Retries for each request, in the long run; ten more are always allowed at first."""
    hedge_share: float = Field(default=0.1, ge=0, le=1)
    """Hedges for each request of the routes that hedge, in the long run."""
    commit_after_s: Seconds = 12
    """Without a first event the headers go out then, with keep-alives, so that no proxy cuts."""
    write_s: Seconds = 60
    """How long a caller may read nothing."""


class Cooldown(_Section):
    failures: int = Field(default=3, ge=1)
    """Failures within the window after which a target rests."""
    window_s: Seconds = 30
    share: float = Field(default=0.5, ge=0, le=1)
    """And what part of the attempts in the window they must be."""
    rest_s: Seconds = 5
    """First rest; doubles up to max_s."""
    max_s: Seconds = 60
    denied_s: Seconds = 300
    """Rest after 401 or 403: a key does not heal in seconds."""
    limit_s: Seconds = 10
    """Rest after 429 without a Retry-After."""


class Access(_Section):
    admin_token: str = ""
    """What opens the operators' routes; without one the first start makes one and prints it."""
    open: bool | Literal["auto"] = "auto"
    """Whether anybody may ask without a key. auto: on this machine only, and only while there
    is no app code."""
    open_lists: bool = False
    """Whether anybody may read which models there are, for clients that can send no key when they
    look for them."""
    cors: tuple[str, ...] = ("http://localhost:*", "http://127.0.0.1:*")
    """Web pages of other addresses that may ask; `*` stands for any text."""
    upstream_allow: tuple[str, ...] = ("localhost", "127.0.0.0/8", "::1")
    """Hosts, host:port or networks that a provider's address which is set at run time may have
    though they are not public. What stands in the file is not asked."""
    metrics_token: str = ""
    """What GET /metrics asks for, beside the admin token; "" lets anybody read it."""
    default_max_tokens: int = Field(default=4096, ge=1)
    """Longest answer to a caller whose tokens or money are limited, where nobody says."""
    unknown_price: Literal["refuse", "pass"] = "pass"
    """What a caller with a budget in money gets where a model has no known price."""
    without_redis: Literal["local", "refuse"] = "local"
    """While store.redis is gone: each process counts alone, or nobody with limits passes."""


class Store(_Section):
    database: str = "sqlite:///var/pointsman.db"
    """sqlite:///path or postgresql://...; "" keeps everything in memory, until the end."""
    redis: str = ""
    """redis://... shares limits, rests, queue, cache and live feed between processes."""
    secret_key: str = ""
    """Seals the keys that are stored at run time; "" makes a file of its own for it."""


class Price(_Section):
    """Dollars for a million tokens of one model. `above_*` hold for a request whose input has
    more tokens than `above`."""

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None
    """Tokens that the upstream had in its cache; without it they cost what others cost."""
    cache_write: Dollars | None = None
    above: int | None = Field(default=None, ge=1)
    above_input: Dollars | None = None
    above_output: Dollars | None = None
    above_cached_input: Dollars | None = None
    above_cache_write: Dollars | None = None
    date: str = ""
    """When it was true, for the ledger."""


class Cache(_Section):
    memory_bytes: int = Field(default=64 * 2**20, ge=0)
    """Of kept answers, without a Redis; the least recently used goes first."""
    answer_bytes: int = Field(default=2**20, ge=1)
    """Longer answers are not kept."""
    named_s: float = Field(default=0.0, ge=0, le=2_592_000)
    """As a route's cache_s, for models that the caller names."""
    named_shared: bool = False
    named_any_temperature: bool = False


class Ledger(_Section):
    flush_s: float = Field(default=0.5, ge=0.05, le=60)
    """Between two writings: what a killed process may lose."""
    waiting: int = Field(default=100_000, ge=1000)
    """Rows that wait while the database cannot be written; more are dropped and counted."""
    keep_days: float = Field(default=0.0, ge=0, le=36_500)
    """Rows of older days are deleted, their totals stay; 0 keeps all."""


class Web(_Section):
    dist: str = "web/dist"
    """Where the built page lies."""
    message_bytes: int = Field(default=32 * 2**20, ge=1024)
    """Of one message on a socket."""
    running: int = Field(default=16, ge=1)
    """Answers at a time on one socket."""
    orphan_s: Seconds = 60
    """How long an answer goes on that nobody reads any more."""
    kept_s: Seconds = 300
    """How long one that has ended may still be read."""
    kept_bytes: int = Field(default=64 * 2**20, ge=1024)
    """Of all answers on sockets together."""


class Feedback(_Section):
    """What is kept of prompts, and what callers say of answers."""

    capture: bool = False
    """Keep the prompts that a route decided on, so that the classifier can learn from them."""
    capture_share: float = Field(default=1.0, ge=0, le=1)
    redact: bool = True
    """Take e-mail addresses, keys, cards and the like out of them first."""
    keep_days: float = Field(default=30, gt=0, le=3650)
    """Kept prompts and feedback are deleted then."""
    max_chars: int = Field(default=8000, ge=100, le=1_000_000)
    """Characters of a prompt that are kept."""


class Jobs(_Section):
    workers: int = Field(default=4, ge=0, le=1000)
    """Jobs at once, in each process; 0 only takes them in."""
    capacity: int = Field(default=10_000, ge=1)
    """Jobs that may wait, and callers of a route with a queue in each process."""
    timeout_s: Seconds = 300
    """How long a job may wait, and how long its answer may take."""
    queue: Literal["auto", "database"] = "auto"
    """auto: store.redis where there is one, else store.database."""
    priority_s: float = Field(default=60, ge=0, le=86_400)
    """Seconds of waiting that one step of priority is worth."""
    lease_s: float = Field(default=15, ge=0.2, le=3600)
    """How long a dead worker's job waits until another takes it."""
    max_claims: int = Field(default=5, ge=1)
    """Workers that a job may take down with it."""
    retention_s: float = Field(default=604_800, ge=1)
    """How long a job that ended is kept."""
    batch_limit: int = Field(default=1000, ge=1, le=10_000)
    model: str = ""
    """What POST /ai_request asks; "": Together's default model, or auto while Together is off."""
    fallback_models: TargetList = ()
    """Whom it asks behind that one; without any, Together's fallback models."""
    max_tokens: int = Field(default=1000, ge=1)
    """Of a request type that does not say, as the temperature."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    webhook_secret: str = ""
    """Signs the webhooks; without one none are taken."""
    webhook_allow: tuple[str, ...] = ()
    """Hosts, host:port or networks that a webhook may reach though they are not public."""
    webhook_tries: int = Field(default=8, ge=1, le=50)


class RequestType(_Section):
    """The template of a request type. None: [jobs] says."""

    system_prompt: str = ""
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    model: str = ""
    """A route, an alias or a model."""
    fallback_models: TargetList = ()
    response_format: Literal["text", "json_object"] | dict[str, Any] = "text"
    """Or a JSON Schema of the answer."""


class Log(_Section):
    debug: bool = False
    format: Literal["auto", "text", "json"] = "auto"
    """auto: text on a terminal, JSON lines elsewhere."""
    folder: str = ""
    """Where app.log, error.log and debug.log are written; "" writes none."""
    file_mb: float = Field(default=10, gt=0, le=10_000)
    """Size at which a file is rolled over."""
    files: int = Field(default=5, ge=1, le=1000)
    """Rolled ones that are kept of each."""
    error_hook: str = Field(default="", pattern=r"^$|^[\w.]+:\w+$")
    """package.module:function that is told of each error of ours."""
    sentry_dsn: str = ""
    """https://KEY@HOST/PROJECT of a Sentry that is told of them instead."""


class Settings(_Section):
    server: Server = Server()
    classifier: Classifier = Classifier()
    routes: dict[str, Route] = Field(default_factory=dict)
    aliases: dict[str, str | TargetList] = Field(default_factory=dict)
    models: dict[str, Model] = Field(default_factory=dict)
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    attempts: Attempts = Attempts()
    cooldown: Cooldown = Cooldown()
    access: Access = Access()
    codes: dict[str, SeedTerms] = Field(default_factory=dict)
    store: Store = Store()
    web: Web = Web()
    feedback: Feedback = Feedback()
    log: Log = Log()
    jobs: Jobs = Jobs()
    request_types: dict[str, RequestType] = Field(default_factory=dict)
    cache: Cache = Cache()
    ledger: Ledger = Ledger()
    prices: dict[str, Price] = Field(default_factory=dict)
    """By "provider/model"; a * in it stands for anything."""
