"""App codes and the admin token."""

from __future__ import annotations

revision = "0001"
down_revision: str | None = None


def upgrade() -> None: ...


def downgrade() -> None: ...
