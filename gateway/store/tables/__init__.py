"""The tables, one module for each subject. Importing this package fills METADATA."""

from gateway.store.tables import codes, feedback, jobs, ledger, settings
from gateway.store.tables.base import METADATA

__all__ = ["METADATA", "codes", "feedback", "jobs", "ledger", "settings"]
