"""For all tests: a busy machine makes none of them fail; the store is SQLite, then PostgreSQL."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.ports import free_port
from tests.store import servers

settings.register_profile("pointsman", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pointsman")


@pytest.fixture
def unused_tcp_port() -> int:
    """In place of pytest-asyncio's, which another test process may take."""
    return free_port()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[str]:
    """Of an empty database: who names it runs once with each kind."""
    with servers.database(request.param, tmp_path) as found:
        yield found
