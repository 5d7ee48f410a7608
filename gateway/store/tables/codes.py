"""App codes, their secrets' hashes, and the hash of the admin token."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, String, Table, Text

from gateway.store.tables.base import METADATA

CODES = Table(
    "codes",
    METADATA,
    Column("id", String(40), primary_key=True),
    # Terms as JSON; the name stands in it, too.
    Column("terms", Text, nullable=False),
    # settings: it stands in gateway.toml; admin: it was made at run time.
    Column("origin", String(20), nullable=False),
    # All times are seconds since 1970.
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("revoked_by", String(20)),
)

SECRETS = Table(
    "code_secrets",
    METADATA,
    # SHA-256 in hex; the secret itself is kept nowhere.
    Column("digest", String(64), primary_key=True),
    Column("code_id", String(40), ForeignKey("codes.id"), nullable=False),
    # Its first characters, so that a person can tell one from another.
    Column("prefix", String(20), nullable=False),
    Column("created_at", Double, nullable=False),
    # When a rotated one stops to be valid.
    Column("ends_at", Double),
    Index("ix_code_secrets_code_id", "code_id"),
)

STATE = Table(
    "access_state",
    METADATA,
    # admin_token: its SHA-256. codes: a version that grows with each change.
    Column("name", String(40), primary_key=True),
    Column("value", String(100), nullable=False),
    Column("version", BigInteger, nullable=False),
)
