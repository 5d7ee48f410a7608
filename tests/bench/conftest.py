"""The cheap upstream as a real process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.procs import Process, parse, python


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port."""
    log: Path = tmp_path_factory.mktemp("bench") / "upstream.log"
    process = Process("upstream", python("bench.upstream"), core=None, log=log, talk=True)
    try:
        port = parse(process.hear(30))["port"]
        assert isinstance(port, int)
        yield port
    finally:
        process.stop()
