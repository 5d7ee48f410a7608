"""Jobs that wait for a limit of their application."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"

HELD = sa.text("status = 'held'")
PARTIAL = (
    ("ix_jobs_held", ["app_id", "rank", "seq"]),
    ("ix_jobs_held_deadline", ["expires_at"]),
)


def upgrade() -> None:
    op.create_table(
        "job_rests",
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("app_id", name="pk_job_rests"),
    )
    for name, columns in PARTIAL:
        op.create_index(name, "jobs", columns, sqlite_where=HELD, postgresql_where=HELD)


def downgrade() -> None:
    for name, _ in PARTIAL:
        op.drop_index(name, "jobs")
    op.execute("UPDATE jobs SET status = 'queued' WHERE status = 'held'")
    op.drop_table("job_rests")
