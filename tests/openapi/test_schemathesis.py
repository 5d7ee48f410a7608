"""schemathesis asks every door what its description allows, and what it does not."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.openapi.upstream import settings_with, upstream
from tests.replay.gateway import ADMIN, running

COMMAND = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
BUDGET_S = 20
# Sockets are not asked so, a stream without an end would take the whole time, and there is no
# classifier here whose answer could be passed on.
LEFT_OUT = (
    "/ws/chat",
    "/ws/monitoring",
    "/monitoring/events",
    "/routing/explain",
    "/routing/promote",
    "/routing/rollback",
)


@pytest.mark.slow
async def test_no_door_breaks_whatever_it_is_asked(tmp_path: Path) -> None:
    async with upstream() as url, running(settings_with(url)) as gateway:
        command = [
            str(COMMAND),
            "run",
            gateway.url + "/openapi.json",
            "--checks",
            CHECKS,
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "6",
            "--max-time",
            str(BUDGET_S),
            "--seed",
            "7",
            "--no-color",
            "--warnings",
            "off",
            "--suppress-health-check",
            "all",
            "-H",
            f"Authorization: {ADMIN['Authorization']}",
        ]
        for path in LEFT_OUT:
            command += ["--exclude-path", path]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis")},
        )
        try:
            async with asyncio.timeout(BUDGET_S * 3):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, said.decode()[-20000:]
