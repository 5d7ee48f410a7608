"""A candidate scores beside the active model: it is counted, and decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from classifier import artefact, labels, monitor
from classifier.artefact import Artefact
from classifier.scorer import Scored
from classifier.shadow import MOST_WAITING, Decided, Shadow
from tests.classifier.candidates import BROKEN, candidate, rewrite
from tests.classifier.service import SHIPPED, Running, running
from tests.classifier.test_hot_swap import fresh, health, metrics, until

ACTIVE = artefact.read_card(SHIPPED)["version"]
PROMPTS = [prompt for _, _, prompt in labels.own_prompts()][:120]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A candidate that sends everything to the strong tier, with the same scores."""
    return candidate(tmp_path / "candidate", "2-new", default_threshold=1.0)


@pytest.fixture
def shadowed(folder: Path) -> Iterator[Running]:
    """Two workers with the candidate as their shadow."""
    with running(CLASSIFIER_SHADOW=str(folder)) as started:
        yield started


async def tiers(url: str) -> list[str]:
    async with aiohttp.ClientSession(url, connector=fresh()) as session:

        async def one(prompt: str) -> str:
            async with session.post("/classify", json={"message": prompt}) as response:
                body = await response.json()
                assert body["version"] == ACTIVE
                return str(body["tier"])

        return list(await asyncio.gather(*(one(prompt) for prompt in PROMPTS)))


async def counted(url: str) -> float:
    found = await metrics(url)
    return sum(n for key, n in found.items() if key.startswith("classifier_shadow_decisions_total"))


@pytest.mark.slow
async def test_a_shadow_is_counted_beside_the_active_model(shadowed: Running) -> None:
    answers = await tiers(shadowed.url)
    strong = answers.count("strong")
    assert 0 < strong < len(answers)

    async def all_seen() -> bool:
        return await counted(shadowed.url) == len(PROMPTS)

    await until(all_seen)
    found = await metrics(shadowed.url)
    pair = f'active="{ACTIVE}"'
    seen = "classifier_shadow_decisions_total"
    for tier, times in (("strong", strong), ("local", len(answers) - strong)):
        key = f'{seen}{{{pair},active_tier="{tier}",shadow="2-new",shadow_tier="strong"}}'
        assert found[key] == times
    share = "classifier_shadow_strong_share"
    active_share = found[f'{share}{{{pair},of="active",shadow="2-new"}}']
    assert active_share == pytest.approx(strong / len(answers))
    assert found[f'{share}{{{pair},of="shadow",shadow="2-new"}}'] == 1
    agreement = found[f'classifier_shadow_agreement{{{pair},shadow="2-new"}}']
    assert agreement == pytest.approx(active_share)
    assert found[f'classifier_shadow_mean_absolute_difference{{{pair},shadow="2-new"}}'] == 0
    for row in await health(shadowed):
        assert row["version"] == ACTIVE
        assert row["shadow"] == {"version": "2-new", "refused": None}


@pytest.mark.slow
async def test_a_shadow_that_is_trained_anew_is_counted_anew(
    shadowed: Running, folder: Path
) -> None:
    rewrite(folder, lambda card: card.update(version="3-newer"))

    async def taken() -> bool:
        rows = await health(shadowed)
        return {row["shadow"]["version"] for row in rows} == {"3-newer"}

    await until(taken)
    BROKEN["tampered"][0](folder)

    async def refused() -> bool:
        rows = await health(shadowed)
        assert {row["shadow"]["version"] for row in rows} == {"3-newer"}
        return all("sha256" in (row["shadow"]["refused"] or {}).get("error", "") for row in rows)

    await until(refused)
    await tiers(shadowed.url)


@pytest.mark.slow
async def test_a_shadow_may_come_after_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with running(CLASSIFIER_SHADOW=str(folder)) as started:
        for row in await health(started):
            assert row["shadow"]["version"] is None
            assert "is missing" in row["shadow"]["refused"]["error"]
        candidate(folder, "2-new")

        async def taken() -> bool:
            rows = await health(started)
            return {row["shadow"]["version"] for row in rows} == {"2-new"}

        await until(taken)


def raising(text: str) -> Scored:
    raise IndexError(text)


async def test_a_shadow_that_fails_goes_on_with_the_next(shipped: Artefact) -> None:
    shadow = Shadow()
    task = asyncio.create_task(shadow.run())
    for scorer in (raising, shipped.scorer):
        shadow.model = replace(shipped, scorer=scorer)  # type: ignore[arg-type]
        shadow.saw(Decided("Hi", "1", 0.5, "local"))
        while shadow._waiting:
            await asyncio.sleep(0)
    assert not task.done()
    text = monitor.scrape().decode()
    assert 'classifier_shadow_dropped_total{why="failed"} 1.0' in text
    task.cancel()


async def test_a_shadow_that_falls_behind_drops_the_oldest(shipped: Artefact) -> None:
    shadow = Shadow()
    shadow.saw(Decided("nobody looks", "1", 0.5, "local"))
    assert not shadow._waiting
    shadow.model = shipped
    for number in range(MOST_WAITING + 10):
        shadow.saw(Decided(str(number), "1", 0.5, "local"))
    assert len(shadow._waiting) == MOST_WAITING
    assert shadow._waiting[0].text == "10"
    task = asyncio.create_task(shadow.run())
    while shadow._waiting:
        await asyncio.sleep(0)
    task.cancel()
