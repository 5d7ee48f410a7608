"""What each attempt cost, and the sums of each day.

Money is stored in whole nano-dollars, so that sums are exact on both databases. Times are
milliseconds since 1970 and days are days since then, in UTC. NULL is unknown, never zero.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    false,
)

from gateway.store.tables.base import METADATA

# SQLite's own row number is an INTEGER; a BIGINT would be an index beside it.
_KEY = BigInteger().with_variant(Integer(), "sqlite")

ATTEMPTS = Table(
    "ledger",
    METADATA,
    # Made by the writer, growing with time: a batch whose answer was lost is found again by it.
    Column("id", _KEY, primary_key=True, autoincrement=False),
    # The process that wrote it, by a number of its own.
    Column("writer", BigInteger, nullable=False),
    # When the attempt ended.
    Column("at", BigInteger, nullable=False),
    Column("day", Integer, nullable=False),
    # The caller may choose it, so it need not be unique.
    Column("request_id", String(64), nullable=False),
    # 1 for the first attempt of a request. A request whose plan nobody could be asked for has none.
    Column("number", SmallInteger, nullable=False),
    # It gave the caller his answer, or the last bytes of one.
    Column("answered", Boolean, nullable=False),
    Column("caller_id", String(64), nullable=False),
    Column("caller_name", String(200), nullable=False),
    Column("door", String(40), nullable=False),
    Column("route", String(100), nullable=False),
    # "" where no tier was chosen.
    Column("tier", String(40), nullable=False),
    Column("provider", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    # finished, cancelled or failed; a failed one has the kind of its error.
    Column("outcome", String(20), nullable=False),
    Column("error", String(40)),
    Column("hedge", Boolean, nullable=False),
    Column("cache_hit", Boolean, nullable=False),
    # Input counts cached and written tokens too, output counts thoughts too.
    Column("input_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_nano", BigInteger),
    # The date of the price.
    Column("priced_on", String(10)),
    # What a cache hit did not cost.
    Column("saved_nano", BigInteger),
    # What the same tokens would have cost at the first target of either tier; NULL also where
    # no tier was chosen.
    Column("local_nano", BigInteger),
    Column("strong_nano", BigInteger),
    # From the attempt's own beginning.
    Column("first_ms", Double),
    Column("total_ms", Double),
    Column("score", Double),
    Column("classifier_version", String(100)),
    Column("reason", String(300), nullable=False),
    # The chance with which the tier was drawn, where it was drawn.
    Column("propensity", Double),
    # Its tokens are ours: it broke off before its upstream counted them.
    Column("estimated", Boolean, nullable=False, server_default=false()),
    Index("ix_ledger_at", "at"),
    Index("ix_ledger_request_id", "request_id"),
)

DAYS = Table(
    "ledger_days",
    METADATA,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("caller_id", String(64), primary_key=True),
    Column("caller_name", String(200), primary_key=True),
    Column("route", String(100), primary_key=True),
    Column("tier", String(40), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("outcome", String(20), primary_key=True),
    # Requests are the first attempts; answers are the attempts that finished one.
    Column("requests", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("answers", BigInteger, nullable=False),
    Column("cache_hits", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    # Attempts whose cost is unknown.
    Column("unpriced", BigInteger, nullable=False),
    Column("saved_nano", BigInteger, nullable=False),
    # Sums over the answers of a chosen tier, and how many of those could not be priced.
    Column("routed", BigInteger, nullable=False),
    Column("local_nano", BigInteger, nullable=False),
    Column("local_unpriced", BigInteger, nullable=False),
    Column("strong_nano", BigInteger, nullable=False),
    Column("strong_unpriced", BigInteger, nullable=False),
)
