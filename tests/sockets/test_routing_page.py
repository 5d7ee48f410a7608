"""What the Routing page reads, with the real classifier and without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.monitor.card import curve, drift
from tests.classifier.service import SHIPPED
from tests.classifier.service import Running as Classifier
from tests.classifier.service import running as classifying
from tests.replay.gateway import ADMIN, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream

HELLO = Play(openai_stream("Hel", "lo", "!"))
CARD = json.loads((Path(SHIPPED) / "card.json").read_text())


@pytest.fixture(scope="module")
def classifier() -> Iterator[Classifier]:
    with classifying(CLASSIFIER_WORKERS="1") as started:
        yield started


@pytest.mark.slow
async def test_an_operator_sees_the_classifier_and_what_it_decided(classifier: Classifier) -> None:
    async with ReplayServer(HELLO) as upstream:
        given = settings(
            providers={
                "easy": openai_provider(upstream.url),
                "hard": openai_provider(upstream.url),
            },
            classifier={"url": classifier.url, "timeout_ms": 5000},
            prices={"easy/m": {"input": 0, "output": 0}, "hard/m": {"input": 100, "output": 1000}},
        )
        async with running(given) as gateway:
            await gateway.complete(message="Name three colours.")
            await asyncio.sleep(1.3)
            async with gateway.session.get(gateway.url + "/routing", headers=ADMIN) as response:
                body = await response.json()
                assert response.status == 200
            # Three tokens in and three out, at the strong end; nothing at the other.
            costs = [point["cost"] for point in body["curve"]]
            assert (costs[0], costs[-1]) == (0, 3.3)
            assert costs == sorted(costs)
            assert body["classifier"]["status"] == "ok"
            assert body["classifier_error"] is None
            assert sum(body["scores"]) == 1
            assert body["recent"][0]["tier"] in ("local", "strong")
            assert body["recent"][0]["prompt"] is None
            assert body["routes"]["auto"]["local"] == ["easy/m"]
            assert body["routes"]["auto"]["decided"] == 1
            async with gateway.session.post(
                gateway.url + "/routing/explain", json={"message": "Prove it."}, headers=ADMIN
            ) as response:
                told = await response.json()
                assert response.status == 200
            assert 0 <= told["score"] <= 1
            assert told["explanation"]
            async with gateway.session.post(
                gateway.url + "/routing/promote", headers=ADMIN
            ) as response:
                refused = await response.json()
                # There is no candidate here; tests/classifier/test_operate.py has one.
                assert response.status == 409
                assert "Not promoted" in refused["error"]["message"]


async def test_without_the_classifier_the_rest_is_still_told() -> None:
    async with running(settings()) as gateway:
        async with gateway.session.get(gateway.url + "/routing", headers=ADMIN) as response:
            body = await response.json()
            assert response.status == 200
        assert body["classifier"] is None
        assert "cannot be reached" in body["classifier_error"]
        assert body["drift"] is body["card"] is body["curve"] is None
        async with gateway.session.post(
            gateway.url + "/routing/explain", json={"message": "Hi"}, headers=ADMIN
        ) as response:
            assert response.status == 502


@pytest.mark.parametrize("path", ["/routing", "/monitoring/requests?caller=x"])
async def test_what_an_operator_sees_nobody_else_sees(path: str) -> None:
    async with running(settings()) as gateway, gateway.session.get(gateway.url + path) as response:
        assert response.status in (400, 401)


def test_the_curve_goes_through_what_the_card_has_measured() -> None:
    points = curve(CARD)
    assert points is not None
    whole = CARD["held_out"]["all known sets together"]
    assert points[0]["quality"] == pytest.approx(whole["always_local"], abs=1e-4)
    assert points[-1]["quality"] == pytest.approx(whole["always_strong"], abs=1e-4)
    for before, after in pairwise(points):
        assert after["quality"] >= before["quality"]
        assert after["threshold"] >= before["threshold"]
    assert curve({}) is None
    assert curve({"held_out": {"all": {"always_local": "x"}}}) is None


def test_drift_is_told_of_enough_scores_that_are_others_than_the_cards() -> None:
    quantiles = CARD["quantiles"]
    same = [0] * 20
    for score in quantiles:
        same[min(int(score * 20), 19)] += 1
    assert sum(same) >= 100
    steady = drift(CARD, same)
    assert steady is not None
    assert not steady["drifted"]
    shifted = drift(CARD, [500] + [0] * 19)
    assert shifted is not None
    assert shifted["drifted"]
    assert drift(CARD, [9] + [0] * 19) is None
    assert drift({}, same) is None
