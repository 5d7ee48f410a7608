"""What callers said of answers, and prompts kept with their leave."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, String, Table, Text

from gateway.store.tables.base import METADATA

FEEDBACK = Table(
    "feedback",
    METADATA,
    # One word of each caller for each request: the last one holds.
    Column("request_id", String(64), primary_key=True),
    Column("caller", String(40), primary_key=True),
    # Seconds since 1970.
    Column("created_at", Double, nullable=False),
    # good, bad, other_tier or score
    Column("value", String(20), nullable=False),
    # 0..1, for `score`.
    Column("score", Double),
    # provider/model whose answer was better.
    Column("better_model", String(200)),
    Column("comment", Text),
    Index("ix_feedback_created_at", "created_at"),
)

PROMPTS = Table(
    "captured_prompts",
    METADATA,
    Column("request_id", String(64), primary_key=True),
    Column("caller", String(40), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("route", String(100), nullable=False),
    Column("tier", String(40)),
    Column("target", String(200), nullable=False),
    # The classifier's, of that version.
    Column("score", Double),
    Column("version", String(100)),
    Column("domain", String(40)),
    # Chance with which the tier was chosen.
    Column("propensity", Double),
    Column("prompt", Text, nullable=False),
    Index("ix_captured_prompts_created_at", "created_at"),
    Index("ix_captured_prompts_caller", "caller"),
)
