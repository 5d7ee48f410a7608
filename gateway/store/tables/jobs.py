"""Questions that are answered later, and who answers them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table, Text, text

from gateway.store.tables.base import METADATA

NUMBER = BigInteger().with_variant(Integer, "sqlite")


def _partial(name: str, *columns: str, where: str) -> Index:
    # PostgreSQL has them from migration 0003. Its option said here, too, would load its library:
    # 3 MB of each process.
    return Index(name, *columns, sqlite_where=text(where))


# All times are seconds since 1970.
JOBS = Table(
    "jobs",
    METADATA,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("app_id", String(64), nullable=False),
    Column("app_name", Text, nullable=False),
    # The request type or the model that was asked: whose times are alike.
    Column("type", Text, nullable=False),
    Column("door", String(20), nullable=False),
    Column("status", String(12), nullable=False),
    Column("priority", Integer, nullable=False),
    # What is asked, as JSON, and its words for a search.
    Column("body", Text, nullable=False),
    Column("question", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    # When it would have its turn, alone and without a priority; and with it: the lowest is next.
    Column("tag", Double, nullable=False),
    Column("rank", Double, nullable=False),
    Column("claims", Integer, nullable=False),
    Column("owner", String(80)),
    Column("lease_until", Double),
    # Events written so far.
    Column("written", Integer, nullable=False),
    Column("result", Text),
    Column("error", Text),
    Column("webhook", Text),
    Column("hook_state", String(12)),
    Column("hook_tries", Integer, nullable=False),
    Column("hook_at", Double),
    Column("idem_key", String(255)),
    Column("digest", String(64)),
    Index("ix_jobs_idem", "app_id", "idem_key", unique=True),
    Index("ix_jobs_app", "app_id", "seq"),
    Index("ix_jobs_ended", "ended_at"),
    _partial("ix_jobs_queue", "rank", "seq", where="status = 'queued'"),
    _partial("ix_jobs_turns", "app_id", "tag", where="status = 'queued'"),
    _partial("ix_jobs_waiting", "created_at", where="status = 'queued'"),
    _partial("ix_jobs_deadline", "expires_at", where="status = 'queued'"),
    _partial("ix_jobs_leases", "lease_until", where="status = 'processing'"),
    _partial("ix_jobs_hooks", "hook_at", where="hook_at IS NOT NULL"),
    _partial("ix_jobs_held", "app_id", "rank", "seq", where="status = 'held'"),
    _partial("ix_jobs_held_deadline", "expires_at", where="status = 'held'"),
)

EVENTS = Table(
    "job_events",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(12), nullable=False),
    Column("data", Text, nullable=False),
)

COUNTS = Table(
    "job_counts",
    METADATA,
    # How many wait, by slices of rank on several levels, so that a place in the queue is a short
    # sum; level 4 is all of them, level 9 those of a type.
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("label", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

WORKERS = Table(
    "job_workers",
    METADATA,
    Column("owner", String(80), primary_key=True),
    Column("slots", Integer, nullable=False),
    Column("busy", Integer, nullable=False),
    Column("seen_at", Double, nullable=False),
)

RESTS = Table(
    "job_rests",
    METADATA,
    # Applications over a limit of theirs: their jobs are held until then.
    Column("app_id", String(64), primary_key=True),
    Column("until", Double, nullable=False),
)
