"""Dashboards and alerts against a real Prometheus that scrapes a real gateway and classifier."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml  # type: ignore[import-untyped]

from deploy import dashboards
from tests.classifier import service
from tests.deploy.kept import keeper
from tests.deploy.services import program, prometheus, ran
from tests.replay.server import Play, ReplayServer, openai_stream

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules" / "pointsman.yml"
TRAFFIC_S = 8


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def panels() -> Iterator[tuple[str, str]]:
    """Title and query of every panel of every dashboard that is shipped."""
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def test_the_shipped_dashboards_are_what_the_code_writes() -> None:
    folder = ROOT / "deploy" / "grafana" / "dashboards"
    assert {path.name: path.read_text() for path in folder.glob("*.json")} == dashboards.files()


def test_promtool_accepts_configuration_and_rules_and_every_alert_fires_when_it_should() -> None:
    promtool = program("promtool", "prometheus")
    folder = ROOT / "deploy" / "prometheus"
    assert "SUCCESS" in ran(promtool, "check", "config", "prometheus.yml", cwd=folder)
    assert "SUCCESS" in ran(promtool, "check", "rules", str(RULES))
    assert "SUCCESS" in ran(promtool, "test", "rules", "rules_test.yml", cwd=folder)
    tested = set(re.findall(r"alertname: (\w+)", (folder / "rules_test.yml").read_text()))
    assert tested == {alert["alert"] for alert in alerts()}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    written = re.findall(r"^### ((?:Pointsman|Classifier)\w+)$", operations, flags=re.M)
    assert sorted(written) == sorted(alert["alert"] for alert in alerts())
    for alert in alerts():
        name = alert["alert"]
        assert alert["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning", "info")


CONFIG = """
[providers.dead]
kind = "openai"
base_url = "http://127.0.0.1:9/v1"
[attempts]
per_target = 1
[cooldown]
failures = 100000
"""


async def traffic(url: str) -> None:
    """Answers, fallbacks, failures and callers who leave, a few of each a second."""
    async with aiohttp.ClientSession() as session:

        async def ask(**body: Any) -> str:
            async with session.post(url + "/complete", json=body) as answer:
                await answer.read()
                return answer.headers.get("X-Request-Id", "")

        async def say(path: str, **body: Any) -> None:
            async with session.post(url + path, json=body) as answer:
                assert answer.status < 300, await answer.text()

        for number in range(TRAFFIC_S * 4):
            answered = await ask(message=f"Name {number} colours.")
            await say("/feedback", request_id=answered, value="good")
            await say("/jobs", dialect="complete", message=f"Later, {number}.", model="lab/m")
            await ask(message=f"Prove theorem {number}.", stream=False)
            await ask(message="Hello", model="dead/m", stream=False)
            leaver = await session.post(url + "/complete", json={"message": "Hi", "model": "lab/m"})
            leaver.close()
            await asyncio.sleep(0.25)


async def found(session: aiohttp.ClientSession, url: str, query: str) -> list[Any]:
    async with session.get(url + "/api/v1/query", params={"query": query}) as answer:
        body = await answer.json()
    assert body["status"] == "success", (query, body)
    result: list[Any] = body["data"]["result"]
    return [row for row in result if row["value"][1] != "NaN"]


@pytest.mark.slow
async def test_every_panel_shows_data_and_every_rule_can_be_evaluated(tmp_path: Path) -> None:
    program("prometheus", "prometheus")
    (tmp_path / "gateway").mkdir()
    (tmp_path / "prometheus").mkdir()
    play = Play(openai_stream(*[f"w{n} " for n in range(20)]), chunk=300, delay_s=0.01)
    with service.running() as classifier:
        async with (
            ReplayServer(play) as upstream,
            keeper(
                tmp_path / "gateway",
                upstream.url,
                extra=CONFIG,
                classifier=classifier.url,
                local='["dead/m", "lab/m"]',
            ) as (child, url),
        ):
            child.send_signal(signal.SIGHUP)
            targets = {
                "pointsman": url.removeprefix("http://"),
                "pointsman-classifier": classifier.url.removeprefix("http://"),
            }
            async with (
                prometheus(tmp_path / "prometheus", targets) as scraper,
                aiohttp.ClientSession() as session,
            ):
                # Prometheus looks for its targets every five seconds.
                async with asyncio.timeout(30):
                    while len(await found(session, scraper, "up == 1")) < len(targets):
                        await asyncio.sleep(0.2)
                await traffic(url)
                empty = []
                for title, query in panels():
                    asked = query.replace("$__rate_interval", "20s")
                    asked = re.sub(r"\$(route|provider)", ".*", asked)
                    assert "$" not in asked, title
                    if not await found(session, scraper, asked):
                        empty.append(f"{title}: {asked}")
                assert not empty, "\n".join(empty)

                async with session.get(scraper + "/api/v1/rules") as answer:
                    groups = (await answer.json())["data"]["groups"]
                rules = [rule for group in groups for rule in group["rules"]]
                assert len(rules) == len(alerts()) + 4
                assert not [rule for rule in rules if rule.get("lastError")]
                # A fallback in every second request cannot go unseen.
                async with session.get(scraper + "/api/v1/alerts") as answer:
                    raised = (await answer.json())["data"]["alerts"]
                assert "PointsmanFallbacksMany" in {one["labels"]["alertname"] for one in raised}
