"""Settings and profiles that are changed while the service runs."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, String, Table, Text

from gateway.store.tables.base import METADATA

OVERRIDES = Table(
    "overrides",
    METADATA,
    # providers/openai/api_key, or "" for the version, which grows with each change.
    Column("path", String(200), primary_key=True),
    # JSON; encrypted where it is secret.
    Column("value", Text, nullable=False),
    Column("secret", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False),
    # Seconds since 1970.
    Column("changed_at", Double, nullable=False),
    Column("changed_by", String(64), nullable=False),
)

PROFILES = Table(
    "profiles",
    METADATA,
    Column("caller_id", String(64), primary_key=True),
    Column("display_name", String(200), nullable=False),
    Column("email", String(254), nullable=False),
    Column("changed_at", Double, nullable=False),
    # "" was never chosen.
    Column("theme", String(10), nullable=False, server_default=""),
    Column("language", String(50), nullable=False, server_default=""),
)
"""Who sits before the page."""
