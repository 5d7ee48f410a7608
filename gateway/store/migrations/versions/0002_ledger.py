"""The ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("writer", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("number", sa.SmallInteger, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("caller_id", sa.String(64), nullable=False),
        sa.Column("caller_name", sa.String(200), nullable=False),
        sa.Column("door", sa.String(40), nullable=False),
        sa.Column("route", sa.String(100), nullable=False),
        sa.Column("tier", sa.String(40), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("error", sa.String(40)),
        sa.Column("hedge", sa.Boolean, nullable=False),
        sa.Column("cache_hit", sa.Boolean, nullable=False),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("cached_tokens", sa.BigInteger),
        sa.Column("cache_write_tokens", sa.BigInteger),
        sa.Column("reasoning_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cost_nano", sa.BigInteger),
        sa.Column("priced_on", sa.String(10)),
        sa.Column("saved_nano", sa.BigInteger),
        sa.Column("local_nano", sa.BigInteger),
        sa.Column("strong_nano", sa.BigInteger),
        sa.Column("first_ms", sa.Double),
        sa.Column("total_ms", sa.Double),
        sa.Column("score", sa.Double),
        sa.Column("classifier_version", sa.String(100)),
        sa.Column("reason", sa.String(300), nullable=False),
        sa.Column("propensity", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_ledger"),
    )
    op.create_index("ix_ledger_at", "ledger", ["at"])
    op.create_index("ix_ledger_request_id", "ledger", ["request_id"])
    op.create_table(
        "ledger_days",
        sa.Column("day", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("caller_id", sa.String(64), nullable=False),
        sa.Column("caller_name", sa.String(200), nullable=False),
        sa.Column("route", sa.String(100), nullable=False),
        sa.Column("tier", sa.String(40), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("answers", sa.BigInteger, nullable=False),
        sa.Column("cache_hits", sa.BigInteger, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_nano", sa.BigInteger, nullable=False),
        sa.Column("unpriced", sa.BigInteger, nullable=False),
        sa.Column("saved_nano", sa.BigInteger, nullable=False),
        sa.Column("routed", sa.BigInteger, nullable=False),
        sa.Column("local_nano", sa.BigInteger, nullable=False),
        sa.Column("local_unpriced", sa.BigInteger, nullable=False),
        sa.Column("strong_nano", sa.BigInteger, nullable=False),
        sa.Column("strong_unpriced", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "day",
            "caller_id",
            "caller_name",
            "route",
            "tier",
            "provider",
            "model",
            "outcome",
            name="pk_ledger_days",
        ),
    )


def downgrade() -> None:
    op.drop_table("ledger_days")
    op.drop_table("ledger")
