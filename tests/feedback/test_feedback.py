"""POST /feedback, kept prompts, their export and their deletion, at the real gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from chat.errors import NotFound
from chat.events import Usage
from chat.trace import Trace
from gateway.engine.ports import Caller, Settlement
from gateway.feedback.keeper import FeedbackKeeper, Said
from gateway.settings import Feedback
from gateway.store.database import Database
from tests.doors.upstreams import HELLO, play, provider
from tests.replay.gateway import ADMIN, Running, running, settings
from tests.replay.server import ReplayServer


@asynccontextmanager
async def asked(*ids: str, store: str = "", **feedback: Any) -> AsyncGenerator[Running]:
    """A gateway at which one question was asked for each id."""
    plays = [play("openai", HELLO, False) for _ in ids]
    async with ReplayServer(*plays) as upstream:
        given = settings(
            providers={"easy": provider("openai", upstream.url)},
            store={"database": store},
            feedback=feedback,
        )
        async with running(given) as gateway:
            for request_id in ids:
                async with gateway.session.post(
                    gateway.url + "/complete",
                    json={"message": "Mail ann@example.org", "stream": False},
                    headers={"X-Request-Id": request_id},
                ) as response:
                    assert response.status == 200, await response.read()
            yield gateway


async def say(gateway: Running, **body: Any) -> tuple[int, Any]:
    async with gateway.session.post(gateway.url + "/feedback", json=body) as response:
        return response.status, orjson.loads(await response.read())


async def exported(gateway: Running, labelled: str = "true") -> list[dict[str, Any]]:
    async with gateway.session.get(
        gateway.url + "/feedback/export", params={"labelled": labelled}, headers=ADMIN
    ) as response:
        assert response.status == 200
        return [orjson.loads(line) for line in (await response.read()).splitlines()]


async def test_a_word_on_an_answer_is_kept_with_its_prompt() -> None:
    async with asked("one", "two", capture=True) as gateway:
        assert (await say(gateway, request_id="one", value="bad"))[0] == 200
        assert (await say(gateway, request_id="one", value="other_tier"))[0] == 200
        [row] = await exported(gateway)
        assert row["feedback"] == "other_tier", "the last word holds"
        assert row["prompt"] == "Mail <email>"
        assert row["model"] == "easy/m"
        assert row["tier"] in ("local", "strong")
        assert "propensity" in row
        assert {one["request_id"] for one in await exported(gateway, "false")} == {"one", "two"}
        assert gateway.summed("pointsman_feedback_total", value="bad") == 1


async def test_the_routing_page_shows_kept_prompts_to_the_operator() -> None:
    for capture in (True, False):
        async with asked("one", capture=capture) as gateway:
            await asyncio.sleep(1.5)
            async with gateway.session.get(gateway.url + "/routing", headers=ADMIN) as response:
                told = await response.json()
                assert response.status == 200, told
                [row] = told["recent"]
            assert row["request_id"] == "one"
            assert row["prompt"] == ("Mail <email>" if capture else None)


async def test_without_capture_no_prompt_is_kept() -> None:
    async with asked("one") as gateway:
        assert (await say(gateway, request_id="one", value="good"))[0] == 200
        assert await exported(gateway, "false") == []


async def test_a_request_that_there_was_not_is_said() -> None:
    async with asked("one") as gateway:
        status, told = await say(gateway, request_id="none", value="good")
        assert status == 404
        assert "none" in orjson.dumps(told).decode()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"value": "good"}, "request_id"),
        ({"request_id": 7, "value": "good"}, "request_id"),
        ({"request_id": "x" * 65, "value": "good"}, "request_id"),
        ({"request_id": "a\0b", "value": "good"}, "request_id"),
        ({"request_id": "one"}, "value"),
        ({"request_id": "one", "value": "fine"}, "value"),
        ({"request_id": "one", "value": "score"}, "score"),
        ({"request_id": "one", "value": "good", "score": 1}, "score"),
        ({"request_id": "one", "score": 2}, "score"),
        ({"request_id": "one", "value": "bad", "better_model": ""}, "better_model"),
        ({"request_id": "one", "value": "bad", "comment": "\0"}, "comment"),
        ({"request_id": "one", "value": "bad", "comment": " " * 5000}, "comment"),
        ({"request_id": "one", "value": "good", "extra": 1}, "extra"),
    ],
)
async def test_each_field_is_checked_by_name(body: dict[str, Any], field: str) -> None:
    async with asked("one", capture=True) as gateway:
        status, told = await say(gateway, **body)
        assert status == 400
        assert field in orjson.dumps(told).decode()
        assert [row["feedback"] for row in await exported(gateway, "false")] == [None]


async def test_the_export_is_the_operators() -> None:
    async with (
        asked("one") as gateway,
        gateway.session.get(gateway.url + "/feedback/export") as response,
    ):
        assert response.status == 401


async def test_what_was_kept_can_be_deleted() -> None:
    async with asked("one", "two", "three", capture=True) as gateway:
        await say(gateway, request_id="one", value="good")
        async with gateway.session.delete(gateway.url + "/feedback/one") as response:
            assert (await response.json())["deleted"] == 2
        left = await exported(gateway, "false")
        assert {row["request_id"] for row in left} == {"two", "three"}
        async with gateway.session.delete(gateway.url + "/feedback") as response:
            assert (await response.json())["deleted"] == 2
        assert await exported(gateway, "false") == []
        async with gateway.session.delete(
            gateway.url + "/feedback", params={"caller": "somebody"}
        ) as response:
            assert response.status == 401


async def test_what_is_too_old_goes_and_a_restart_forgets_nothing(store_url: str) -> None:
    async with asked("one", "two", store=store_url, capture=True):
        pass
    database = Database(store_url)
    await database.open()
    now = 0.0
    keeper = FeedbackKeeper(Feedback(capture=True, keep_days=30), database, now=lambda: now)
    rows = [row async for row in keeper.export(labelled_only=False)]
    assert {row["request_id"] for row in rows} == {"one", "two"}
    await keeper.say(Said("one", "good"), Caller("open", "open"))
    now = time.time() + 29 * 86_400
    assert await keeper.clean() == 1, "the word was said in 1970"
    now = time.time() + 31 * 86_400
    assert await keeper.clean() == 2
    await database.close()


async def test_words_that_are_said_at_once_are_one_word(store_url: str) -> None:
    async with asked("one", store=store_url, capture=True) as gateway:
        words = [say(gateway, request_id="one", value=value) for value in ("good", "bad") * 8]
        assert {status for status, _ in await asyncio.gather(*words)} == {200}
        [row] = await exported(gateway)
        assert row["feedback"] in ("good", "bad")


async def test_a_foreign_request_is_nobody_elses() -> None:
    database = Database("")
    await database.open()
    keeper = FeedbackKeeper(Feedback(), database)
    mine = Caller("code_a", "a")
    one = Settlement("finished", "complete", Trace("one"), Usage(), True, caller=mine)
    keeper.settled([(0.0, one)])
    await keeper.say(Said("one", "good"), mine)
    await keeper.say(Said("one", "bad"), Caller("admin", "admin", admin=True))
    with pytest.raises(NotFound):
        await keeper.say(Said("one", "bad"), Caller("code_b", "b"))
    await database.close()
