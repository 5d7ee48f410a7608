"""One cluster for all tests here; each test has its own app code and leaves all parts running."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.cluster.cluster import Cluster, cluster


@pytest.fixture(scope="session")
def one_cluster() -> Generator[Cluster]:
    with cluster() as found:
        yield found
