"""One service for all tests that only ask it something."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from classifier import artefact, embedding
from classifier.artefact import Artefact
from classifier.embedding import Embedding
from tests.classifier.service import SHIPPED, Running, running


@pytest.fixture(scope="session")
def service() -> Iterator[Running]:
    """A real gunicorn with two workers and the artefact that ships."""
    with running() as started:
        yield started


@pytest.fixture
async def client(service: Running) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base is the running service."""
    async with aiohttp.ClientSession(service.url) as session:
        yield session


@pytest.fixture(scope="session")
def shipped() -> Artefact:
    """The artefact that ships, verified."""
    return artefact.load(SHIPPED)


@pytest.fixture(scope="session")
def words() -> Embedding:
    """The embedding, loaded once."""
    return embedding.load()
