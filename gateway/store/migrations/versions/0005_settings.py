"""Settings and profiles that were changed at run time."""

from __future__ import annotations

revision = "0005"
down_revision: str | None = "0004"


def upgrade() -> None: ...


def downgrade() -> None: ...
