"""Jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
PARTIAL = (
    ("ix_jobs_queue", ("rank", "seq"), "status = 'queued'"),
    ("ix_jobs_turns", ("app_id", "tag"), "status = 'queued'"),
    ("ix_jobs_waiting", ("created_at",), "status = 'queued'"),
    ("ix_jobs_deadline", ("expires_at",), "status = 'queued'"),
    ("ix_jobs_leases", ("lease_until",), "status = 'processing'"),
    ("ix_jobs_hooks", ("hook_at",), "hook_at IS NOT NULL"),
)


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("app_name", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("door", sa.String(20), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("tag", sa.Double, nullable=False),
        sa.Column("rank", sa.Double, nullable=False),
        sa.Column("claims", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(80)),
        sa.Column("lease_until", sa.Double),
        sa.Column("written", sa.Integer, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("webhook", sa.Text),
        sa.Column("hook_state", sa.String(12)),
        sa.Column("hook_tries", sa.Integer, nullable=False),
        sa.Column("hook_at", sa.Double),
        sa.Column("idem_key", sa.String(255)),
        sa.Column("digest", sa.String(64)),
        sa.PrimaryKeyConstraint("seq", name="pk_jobs"),
        sa.UniqueConstraint("id", name="uq_jobs_id"),
    )
    op.create_index("ix_jobs_idem", "jobs", ["app_id", "idem_key"], unique=True)
    op.create_index("ix_jobs_app", "jobs", ["app_id", "seq"])
    op.create_index("ix_jobs_ended", "jobs", ["ended_at"])
    for name, columns, where in PARTIAL:
        op.create_index(
            name,
            "jobs",
            list(columns),
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    op.create_table(
        "job_events",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", "n", name="pk_job_events"),
    )
    op.create_table(
        "job_counts",
        sa.Column("level", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("bucket", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("level", "bucket", "label", name="pk_job_counts"),
    )
    op.create_table(
        "job_workers",
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("busy", sa.Integer, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_job_workers"),
    )


def downgrade() -> None:
    for name in ("job_workers", "job_counts", "job_events", "jobs"):
        op.drop_table(name)
