"""App codes and the admin token."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    op.create_table(
        "codes",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("origin", sa.String(20), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("revoked_at", sa.Double),
        sa.Column("revoked_by", sa.String(20)),
        sa.PrimaryKeyConstraint("id", name="pk_codes"),
    )
    op.create_table(
        "code_secrets",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("code_id", sa.String(40), nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("ends_at", sa.Double),
        sa.PrimaryKeyConstraint("digest", name="pk_code_secrets"),
        sa.ForeignKeyConstraint(["code_id"], ["codes.id"], name="fk_code_secrets_code_id"),
    )
    op.create_index("ix_code_secrets_code_id", "code_secrets", ["code_id"])
    op.create_table(
        "access_state",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("value", sa.String(100), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_access_state"),
    )


def downgrade() -> None:
    op.drop_table("access_state")
    op.drop_table("code_secrets")
    op.drop_table("codes")
