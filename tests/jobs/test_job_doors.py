"""POST /jobs, its events, its end: what callers see."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

from tests.jobs.lab import (
    MINE,
    THEIRS,
    WORDS,
    ended,
    events,
    lab,
    put,
    shown,
    slow,
    stalled,
    until,
)
from tests.replay.gateway import ADMIN, Running
from tests.replay.server import openai_error

HI = [{"role": "user", "content": "Hi"}]
QUESTIONS: dict[str, dict[str, Any]] = {
    "complete": {"message": "Hi"},
    "openai": {"messages": HI},
    "responses": {"input": "Hi"},
    "anthropic": {"messages": HI, "max_tokens": 50},
    "ollama": {"messages": HI},
    "ollama-generate": {"prompt": "Hi"},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
}


async def post(
    gateway: Running, path: str, body: Any, **headers: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    sent = {"Content-Type": "application/json", **MINE, **headers}
    async with gateway.session.post(gateway.url + path, data=raw, headers=sent) as answer:
        return answer.status, await answer.json(), dict(answer.headers)


@pytest.mark.parametrize("dialect", QUESTIONS)
async def test_a_job_of_any_language_ends_with_that_languages_body(dialect: str) -> None:
    async with lab() as (gateway, _):
        body = {"model": "easy/m", "dialect": dialect, **QUESTIONS[dialect]}
        status, told, headers = await post(gateway, "/jobs", body)
        assert status == 202, told
        assert headers["Location"] == f"/jobs/{told['id']}"
        assert told["dialect"] == dialect
        done = await ended(gateway, told["id"])
        assert done["status"] == "completed", done
        assert done["answer"]["text"] == "Hello there"
        assert done["answer"]["usage"]["output_tokens"] == 2
        assert "Hello there" in orjson.dumps(done["result"]).decode()


async def test_the_dialect_may_stand_in_a_header() -> None:
    async with lab() as (gateway, _):
        body = {"model": "easy/m", "messages": HI, "max_tokens": 9}
        _, told, _ = await post(gateway, "/jobs", body, **{"X-Pointsman-Dialect": "anthropic"})
        assert (await ended(gateway, told["id"]))["result"]["type"] == "message"


async def test_events_tell_place_turn_tokens_and_end() -> None:
    async with lab(slow(0.05), slow(), jobs={"workers": 1}) as (gateway, upstream):
        await put(gateway)
        await upstream.until_received(1)
        name = await put(gateway)
        seen = await events(gateway, name)
        kinds = [kind for kind, _, _ in seen]
        assert kinds[0] == "queued"
        first = orjson.loads(seen[0][2])
        assert first["position"] == 1
        assert first["estimated_wait_s"]["high"] > 0
        assert "second" in first["estimated_wait_time"]
        assert kinds[kinds.index("processing") :] == [
            "processing",
            *["token"] * kinds.count("token"),
            "done",
        ]
        assert kinds.count("token") > 3, "they come as they are made, not at the end"
        text = "".join(orjson.loads(data)["text"] for kind, _, data in seen if kind == "token")
        assert text == "".join(WORDS)
        assert orjson.loads(seen[-1][2])["answer"]["text"] == text


async def test_a_later_reader_gets_what_was_written_and_last_event_id_resumes() -> None:
    async with lab(slow()) as (gateway, _):
        name = await put(gateway)
        part = await events(gateway, name, stop_after=4)
        await ended(gateway, name)
        whole = await events(gateway, name)
        assert [row for row in whole if row[1]][:3] == [row for row in part if row[1]][:3]
        last = part[-1][1]
        rest = await events(gateway, name, {"Last-Event-ID": last})
        assert rest == whole[whole.index(part[-1]) + 1 :]
        url = f"{gateway.url}/jobs/{name}/events"
        headers = {**MINE, "Last-Event-ID": whole[-1][1]}
        async with gateway.session.get(url, headers=headers) as answer:
            assert answer.status == 204
        async with gateway.session.get(url, headers={**MINE, "Last-Event-ID": "x\t"}) as answer:
            assert answer.status == 400


async def test_cancelling_a_running_job_frees_its_upstream_at_once() -> None:
    async with lab(stalled()) as (gateway, upstream):
        name = await put(gateway)
        await upstream.until_received(1)
        began = time.monotonic()
        async with gateway.session.delete(f"{gateway.url}/jobs/{name}", headers=MINE) as answer:
            assert (await answer.json())["status"] == "cancelled"
        await upstream.until_left(1)
        left = upstream.received[0].left_at
        assert left is not None
        assert left - began < 1
        assert (await shown(gateway, name))["status"] == "cancelled"
        assert (await events(gateway, name))[-1][0] == "cancelled"


async def test_cancelling_a_waiting_job_never_asks_anybody() -> None:
    async with lab(stalled(), jobs={"workers": 1}) as (gateway, upstream):
        first = await put(gateway)
        await upstream.until_received(1)
        name = await put(gateway)
        for path in (name, first):
            async with gateway.session.delete(f"{gateway.url}/jobs/{path}", headers=MINE) as answer:
                assert (await answer.json())["status"] == "cancelled"
        await upstream.until_left(1)
        await asyncio.sleep(0.1)
        assert len(upstream.received) == 1


async def test_a_failed_job_tells_why() -> None:
    async with lab(openai_error(500), attempts={"per_target": 1}) as (gateway, _):
        found = await ended(gateway, await put(gateway))
        assert found["status"] == "error"
        assert found["error"]["type"] == "upstream_error"


async def test_callers_see_and_cancel_their_own_jobs_only() -> None:
    async with lab(jobs={"workers": 0}) as (gateway, _):
        name = await put(gateway)
        url = f"{gateway.url}/jobs/{name}"
        for method, path in (("GET", url), ("DELETE", url), ("GET", url + "/events")):
            async with gateway.session.request(method, path, headers=THEIRS) as answer:
                assert answer.status == 404
        async with gateway.session.get(url) as answer:
            assert answer.status == 401
        async with gateway.session.get(gateway.url + "/jobs", headers=THEIRS) as answer:
            assert (await answer.json())["data"] == []
        async with gateway.session.get(gateway.url + "/jobs", headers=ADMIN) as answer:
            assert [one["id"] for one in (await answer.json())["data"]] == [name]
        async with gateway.session.delete(url, headers=ADMIN) as answer:
            assert (await answer.json())["status"] == "cancelled"


async def test_the_history_is_searched_by_state_and_words() -> None:
    async with lab(jobs={"workers": 0}) as (gateway, _):
        cats = await put(gateway, message="Of cats")
        dogs = await put(gateway, message="Of dogs")
        async with gateway.session.delete(f"{gateway.url}/jobs/{dogs}", headers=MINE):
            pass

        async def found(query: str) -> list[str]:
            async with gateway.session.get(f"{gateway.url}/jobs?{query}", headers=MINE) as answer:
                assert answer.status == 200
                return [one["id"] for one in (await answer.json())["data"]]

        assert await found("") == [dogs, cats]
        async with gateway.session.get(gateway.url + "/jobs", headers=MINE) as answer:
            told = (await answer.json())["data"]
        assert [one["question"] for one in told] == ["Of dogs", "Of cats"]
        assert await found("q=cats") == [cats]
        assert await found("status=cancelled") == [dogs]
        assert await found("status=queued&q=dogs") == []
        assert await found("limit=1") == [dogs]
        for wrong in ("status=x", "limit=0", "limit=x", "before=-1", "q=%00", "page=2"):
            async with gateway.session.get(f"{gateway.url}/jobs?{wrong}", headers=MINE) as answer:
                assert answer.status == 400
        async with gateway.session.get(f"{gateway.url}/jobs?app=theirs", headers=MINE) as answer:
            assert answer.status == 403


async def test_an_idempotency_key_makes_one_job_of_two_calls() -> None:
    async with lab(jobs={"workers": 0}) as (gateway, _):
        body = {"message": "Hi", "model": "easy/m"}
        key = {"Idempotency-Key": "order-7"}
        status, first, _ = await post(gateway, "/jobs", body, **key)
        assert status == 202
        status, again, headers = await post(gateway, "/jobs", body, **key)
        assert (status, again["id"]) == (200, first["id"])
        assert headers["Idempotent-Replayed"] == "true"
        status, told, _ = await post(gateway, "/jobs", {**body, "message": "Ho"}, **key)
        assert (status, told["error"]["code"]) == (422, "idempotency_key_reused")
        status, other, _ = await post(gateway, "/jobs", body, **{**THEIRS, **key})
        assert (status, other["id"] == first["id"]) == (202, False)
        status, told, _ = await post(gateway, "/jobs", body, **{"Idempotency-Key": "x" * 201})
        assert (status, told["error"]["param"]) == (400, "Idempotency-Key")


async def test_a_batch_tells_each_item_by_itself() -> None:
    async with lab() as (gateway, _):
        good = {"message": "Hi", "model": "easy/m"}
        items: list[Any] = [good, {"message": ""}, 7, {**good, "dialect": "latin"}, good]
        status, told, _ = await post(gateway, "/jobs/batch", items)
        assert (status, told["queued"]) == (202, 2)
        assert ["id" in row for row in told["data"]] == [True, False, False, False, True]
        assert [row["index"] for row in told["data"]] == [0, 1, 2, 3, 4]
        assert told["data"][1]["error"]["param"] == "message"
        for row in told["data"]:
            if "id" in row:
                assert (await ended(gateway, row["id"]))["status"] == "completed"
        lines = b"\n".join((orjson.dumps(good), b"", b"{nonsense", orjson.dumps(good)))
        kind = {"Content-Type": "application/x-ndjson"}
        status, told, _ = await post(gateway, "/jobs/batch", lines, **kind)
        assert (status, told["queued"]) == (202, 2)
        assert told["data"][1]["error"]["code"] == "invalid_json"
        wrongs: list[Any] = [[], {}, {"requests": "x"}, "x", None]
        for wrong in wrongs:
            status, told, _ = await post(gateway, "/jobs/batch", wrong)
            assert (status, told["error"]["param"]) == (400, "requests")
        status, told, _ = await post(gateway, "/jobs/batch", [good] * 1001)
        assert status == 400


async def test_a_full_queue_is_a_503_with_a_time_to_come_back() -> None:
    async with lab(jobs={"workers": 0, "capacity": 1}) as (gateway, _):
        await put(gateway)
        status, told, headers = await post(gateway, "/jobs", {"message": "Hi", "model": "easy/m"})
        assert (status, told["error"]["code"]) == (503, "queue_full")
        assert int(headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "message"),
        ({"message": "Hi", "dialect": "latin"}, 400, "dialect"),
        ({"message": "Hi", "dialect": 7}, 400, "dialect"),
        ({"message": "Hi", "dialect": "\0"}, 400, "dialect"),
        ({"message": "Hi", "unknown": 7}, 400, "unknown"),
        ({"message": " " * 1_000_000}, 400, "message"),
        ({"message": "x" * 400_001}, 413, "messages"),
        ({"message": 7}, 400, "message"),
        ({"message": "Hi", "model": "nobody/knows'; DROP TABLE jobs"}, 404, "model"),
        ({"message": "Hi", "model": "easy\0"}, 404, "model"),
        ({"message": "Hi", "webhook": 7}, 400, "webhook"),
        ({"message": "Hi", "webhook": "http://127.0.0.1/"}, 400, "webhook"),
        ({"message": "Hi", "dialect": "gemini"}, 400, "model"),
        ([], 400, None),
        (None, 400, None),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_queued(
    body: Any, status: int, param: str | None
) -> None:
    async with lab() as (gateway, upstream):
        found, told, _ = await post(gateway, "/jobs", body)
        assert (found, told["error"]["param"]) == (status, param)
        assert (await gateway.services.jobs.queue.stats()).waiting == 0
        assert not upstream.received


async def test_a_body_nested_too_deep_is_a_mistake() -> None:
    async with lab() as (gateway, _):
        deep = b'{"message":"Hi","messages":' + b"[" * 500 + b"]" * 500 + b"}"
        status, _, _ = await post(gateway, "/jobs", deep)
        assert status == 400


async def test_null_characters_and_quotes_pass_as_they_are() -> None:
    async with lab() as (gateway, upstream):
        words = "a\0b '; DROP TABLE jobs; -- \U0001f600"
        found = await ended(gateway, await put(gateway, message=words))
        assert found["status"] == "completed"
        assert upstream.received[0].body["messages"][-1]["content"] == words


async def test_a_job_of_a_revoked_application_is_not_answered() -> None:
    async with lab(stalled(), jobs={"workers": 1}) as (gateway, upstream):
        first = await put(gateway)
        await upstream.until_received(1)
        name = await put(gateway)
        accounts = gateway.services.accounts
        app = accounts.find("abc123hash")
        assert app is not None
        async with gateway.session.delete(f"{gateway.url}/codes/{app.id}", headers=ADMIN) as answer:
            assert answer.status < 300
        async with gateway.session.delete(f"{gateway.url}/jobs/{first}", headers=ADMIN):
            pass
        async with asyncio.timeout(5):
            while (found := await gateway.services.jobs.queue.get(name)) is None or not found.ended:
                await asyncio.sleep(0.02)
        assert found.status == "error"
        assert len(upstream.received) == 1


async def test_the_metrics_count_jobs() -> None:
    async with lab() as (gateway, _):
        await ended(gateway, await put(gateway))
        assert gateway.counted("pointsman_jobs_total", status="completed") == 1
        assert gateway.counted("pointsman_job_wait_seconds_count") == 1


async def test_a_stopping_gateway_gives_running_jobs_back() -> None:
    async with lab(stalled(), server={"drain_s": 0.4}) as (gateway, upstream):
        name = await put(gateway)
        await upstream.until_received(1)
        await until(gateway, name, "processing")
        gateway.services.jobs.drain(0.1)
        await gateway.services.jobs.workers.close(0.1)
        await upstream.until_left(1)
        found = await gateway.services.jobs.queue.get(name)
        assert found is not None
        assert found.status == "queued"
