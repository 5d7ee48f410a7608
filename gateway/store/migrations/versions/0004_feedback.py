"""Feedback and kept prompts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("caller", sa.String(40), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("value", sa.String(20), nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("better_model", sa.String(200)),
        sa.Column("comment", sa.Text),
        sa.PrimaryKeyConstraint("request_id", "caller", name="pk_feedback"),
    )
    op.create_index("ix_feedback_created_at", "feedback", ["created_at"])
    op.create_table(
        "captured_prompts",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("caller", sa.String(40), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("route", sa.String(100), nullable=False),
        sa.Column("tier", sa.String(40)),
        sa.Column("target", sa.String(200), nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("version", sa.String(100)),
        sa.Column("domain", sa.String(40)),
        sa.Column("propensity", sa.Double),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_captured_prompts"),
    )
    op.create_index("ix_captured_prompts_created_at", "captured_prompts", ["created_at"])
    op.create_index("ix_captured_prompts_caller", "captured_prompts", ["caller"])


def downgrade() -> None:
    op.drop_table("captured_prompts")
    op.drop_table("feedback")
