"""What README says `make run` prints is what the gateway prints where nobody has a key."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from gateway.plan_lines import plan_lines
from gateway.settings_file import load
from tests.replay.gateway import running
from tests.replay.server import ReplayServer

ROOT = Path(__file__).parents[2]


async def test_the_plan_in_the_readme_is_the_one_that_is_printed(tmp_path: Path) -> None:
    shown = re.findall(r"^gateway    \| (.*)$", (ROOT / "README.md").read_text(), flags=re.M)
    async with ReplayServer() as local:
        environment = {
            "DATABASE_URL": f"sqlite:///{tmp_path}/plan.db",
            "LOCAL_BASE_URL": local.url + "/v1",
            # Nobody listens there.
            "OLLAMA_BASE_URL": "http://127.0.0.1:9",
        }
        given = load(ROOT / "gateway.toml", environment)
        async with running(given, environment) as gateway:
            async with asyncio.timeout(10):
                await gateway.services.looked.wait()
            printed = plan_lines(gateway.services, "http://127.0.0.1:8080")
    assert shown[:-1] == printed
    assert shown[-1].lstrip().startswith("admin ")
