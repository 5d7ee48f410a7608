"""How a caller's page looks: its theme and the language of its dates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"


def upgrade() -> None:
    for name, longest in (("theme", 10), ("language", 50)):
        column = sa.Column(name, sa.String(longest), nullable=False, server_default="")
        op.add_column("profiles", column)


def downgrade() -> None:
    for name in ("theme", "language"):
        op.drop_column("profiles", name)
