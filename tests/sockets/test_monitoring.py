"""The live feed, its rows and its routes, against a real gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from yarl import URL

from gateway.engine.ports import Caller
from gateway.monitor.window import seen_of_row
from gateway.routes import books
from gateway.routes.live import HUB
from tests.replay.gateway import ADMIN, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream
from tests.sockets.talk import chatting

HELLO = Play(openai_stream("Hel", "lo", "!"))


def two(easy: ReplayServer, hard: ReplayServer, **tree: Any) -> Any:
    return settings(
        providers={"easy": openai_provider(easy.url), "hard": openai_provider(hard.url)},
        classifier={"on_failure": "local"},
        **tree,
    )


async def get(gateway: Running, path: str, headers: dict[str, str] | None = ADMIN) -> Any:
    async with gateway.session.get(gateway.url + path, headers=headers or {}) as response:
        return response.status, await response.json()


async def counted(gateway: Running, number: int = 1) -> dict[str, Any]:
    """The snapshot, once so many requests are in it."""
    async with asyncio.timeout(5):
        while True:
            _, body = await get(gateway, "/monitoring")
            if body["totals"]["requests"] >= number:
                return dict(body)
            await asyncio.sleep(0.1)


async def test_a_snapshot_counts_what_ended_and_shows_its_attempts() -> None:
    async with (
        ReplayServer(openai_error(500)) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard, attempts={"per_target": 1})) as gateway,
    ):
        await gateway.complete(message="Hi")
        body = await counted(gateway)
        assert body["type"] == "snapshot"
        assert body["scope"] == "all"
        assert body["tiers"] == {"local": 1}
        assert body["totals"]["output_tokens"] == 3
        assert body["first_token_ms"]["count"] == 1
        assert body["rates"]["requests_per_s"] == round(1 / 60, 3)
        assert sum(point["requests"] for point in body["history"]) == 1
        row = body["requests"][0]
        assert (row["outcome"], row["target"], row["fallbacks"]) == ("finished", "hard/m", 1)
        assert [one["outcome"] for one in row["attempts"]] == ["upstream_error", "finished"]
        assert row["attempts"][1]["began_ms"] >= row["attempts"][0]["ended_ms"] >= 0
        assert row["door"] == "complete"
        _, same = await get(gateway, "/monitoring/requests/" + row["request_id"])
        assert same == row


async def test_a_breaker_that_opens_is_shown_with_its_reason() -> None:
    async with (
        ReplayServer(openai_error(401, "bad key")) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
    ):
        await gateway.complete(message="Hi")
        targets = {one["target"]: one for one in (await counted(gateway))["targets"]}
        assert targets["easy/m"]["breaker"] == "open"
        assert 0 < targets["easy/m"]["rests_s"] <= 300
        assert targets["easy/m"]["error"]
        assert targets["hard/m"]["breaker"] == "closed"
        assert targets["hard/m"]["requests"] == 1


async def test_a_target_that_failed_unseen_has_its_request_and_its_error() -> None:
    """Once for each request, however often it was asked again; the request itself is no error."""
    failing = [openai_error(500, "broken") for _ in range(2)]
    async with (
        ReplayServer(*failing, HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
    ):
        await gateway.complete(message="Hi")
        assert len(easy.received) == 2
        state = await counted(gateway)
        targets = {one["target"]: one for one in state["targets"]}
        assert (targets["easy/m"]["requests"], targets["easy/m"]["errors"]) == (1, 1)
        assert targets["easy/m"]["first_token_ms"] is None
        assert (targets["hard/m"]["requests"], targets["hard/m"]["errors"]) == (1, 0)
        assert (state["totals"]["requests"], state["totals"]["errors"]) == (1, 0)
        # Another process counts the same from the row that it is told.
        seen = seen_of_row(state["requests"][0])
        assert (seen.target, tuple(seen.failed_before)) == ("hard/m", ("easy/m",))


async def test_the_socket_sends_a_snapshot_and_then_what_changed() -> None:
    async with (
        ReplayServer(HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
        chatting(gateway, "/ws/monitoring", hello=False, headers=ADMIN) as client,
    ):
        assert (await client.hear())["type"] == "ready"
        assert (await client.hear())["type"] == "snapshot"
        answer = await gateway.complete(message="Hi")
        while True:
            delta = await client.hear()
            assert delta["type"] == "delta"
            if "requests" in delta:
                break
        assert [row["request_id"] for row in delta["requests"]] == [answer.route["request_id"]]
        assert delta["totals"]["requests"] == 1
        assert "scope" not in delta
        assert len(delta["history"]) <= 2


async def test_a_paused_watcher_is_told_nothing_and_then_everything() -> None:
    async with (
        ReplayServer(HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
        chatting(gateway, "/ws/monitoring") as client,
    ):
        await client.until("snapshot")
        await client.say(type="pause")
        await client.say(type="ping")
        await client.until("pong")
        await gateway.complete(message="Hi")
        await counted(gateway)
        await client.say(type="continue")
        assert len((await client.hear())["requests"]) == 1


async def test_a_caller_sees_his_own_and_nothing_of_others() -> None:
    async with (
        ReplayServer(HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
    ):
        async with gateway.session.post(
            gateway.url + "/complete", json={"message": "Hi"}, headers=ADMIN
        ) as response:
            await response.read()
        await gateway.complete(message="Hi")
        everything = await counted(gateway, 2)
        assert len(everything["requests"]) == 2
        _, own = await get(gateway, "/monitoring", None)
        assert own["scope"] == "own"
        assert [row["caller_id"] for row in own["requests"]] == ["open"]
        assert own["totals"]["requests"] == 1
        assert own["targets"] is own["queue"] is own["workers"] is own["scores"] is None
        theirs = next(row for row in everything["requests"] if row["caller_id"] != "open")
        status, _ = await get(gateway, "/monitoring/requests/" + theirs["request_id"], None)
        assert status == 404
        status, body = await get(gateway, "/monitoring/requests?caller=admin", None)
        assert (status, body["error"]["param"]) == (400, "caller")


async def test_the_feed_comes_over_sse_too() -> None:
    async with (
        ReplayServer(HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
        gateway.session.get(gateway.url + "/monitoring/events", headers=ADMIN) as response,
    ):
        assert response.content_type == "text/event-stream"
        events: list[tuple[str, Any]] = []
        name = ""
        await gateway.complete(message="Hi")
        async with asyncio.timeout(5):
            async for line in response.content:
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: "):
                    events.append((name, orjson.loads(line[6:])))
                    if name == "delta" and "requests" in events[-1][1]:
                        break
        assert events[0][0] == "snapshot"
        assert events[-1][1]["requests"][0]["target"] == "easy/m"


async def kept(gateway: Running, number: int) -> list[dict[str, Any]]:
    """The ledger's rows, once so many requests are in it."""
    async with asyncio.timeout(5):
        while True:
            _, page = await get(gateway, "/monitoring/requests?limit=200")
            assert page["source"] == "ledger"
            if len(page["requests"]) >= number:
                return list(page["requests"])
            await asyncio.sleep(0.1)


async def test_the_last_requests_are_paged_and_filtered() -> None:
    async with (
        ReplayServer(HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
    ):
        for model in ("auto", "hard/m", "auto", "hard/m", "auto"):
            await gateway.complete(message="Hi", model=model)
        everything = await kept(gateway, 5)
        assert [row["target"] for row in everything] == [
            "easy/m",
            "hard/m",
            "easy/m",
            "hard/m",
            "easy/m",
        ]
        seen = []
        path = "/monitoring/requests?limit=2"
        for _ in range(3):
            _, page = await get(gateway, path)
            seen += page["requests"]
            path = f"/monitoring/requests?limit=2&before={page['next']}"
        assert page["next"] is None
        assert seen == everything
        _, page = await get(gateway, "/monitoring/requests?target=hard/m&outcome=finished")
        assert len(page["requests"]) == 2
        _, page = await get(gateway, "/monitoring/requests?until=1")
        assert page["requests"] == []


async def test_a_request_from_the_ledger_has_its_attempts() -> None:
    async with (
        ReplayServer(openai_error(500)) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard, attempts={"per_target": 2})) as gateway,
    ):
        await gateway.complete(message="Hi")
        await gateway.complete(message="Hi", model="hard/m")
        rows = await kept(gateway, 2)
        assert [len(row["attempts"]) for row in rows] == [1, 3]
        assert rows[1]["fallbacks"] == 2
        assert rows[1]["attempts"][0]["outcome"] == "upstream_error"
        began = [one["began_ms"] for one in rows[1]["attempts"]]
        assert began == sorted(began)
        assert rows[1]["outcome"] == "finished"
        live = (await counted(gateway, 2))["requests"]
        assert rows[0].keys() == live[0].keys()
        database, request_id = gateway.services.database, rows[1]["request_id"]
        assert await books.one(database, None, request_id) == rows[1]
        assert await books.one(database, "other", request_id) is None


async def test_money_and_costs_are_told_where_prices_are_known() -> None:
    price = {"input": "1", "output": "2"}
    async with (
        ReplayServer(HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(
            two(easy, hard, prices={"easy/m": price, "hard/m": {"input": "10", "output": "20"}})
        ) as gateway,
    ):
        async with chatting(gateway) as client:
            answer = await client.start(message="Hi")
            done = (await client.until_ended(answer))[-1]
        assert done["cost"] == {"amount": "0.000009", "currency": "USD"}
        assert (await counted(gateway))["requests"][0]["cost"] == "0.000009"
        rows = await kept(gateway, 1)
        assert rows[0]["cost"] == "0.000009"
        money = await books.money(gateway.services.database, None)
        assert money["days"][-1]["cost"] == "0.000009"
        assert money["days"][-1]["always_strong"] == "0.00009"
        assert money["saved"] == "0.000081"
        async with asyncio.timeout(5):
            while (await counted(gateway))["money"] is None:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "before=x", "since=-1", "what=1"])
async def test_a_wrong_query_names_its_field(query: str) -> None:
    async with running(settings()) as gateway:
        status, body = await get(gateway, "/monitoring/requests?" + query)
        assert (status, body["error"]["param"]) == (400, query.partition("=")[0])


async def test_a_watcher_who_does_not_ask_is_not_queued_for() -> None:
    async with (
        ReplayServer(HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
    ):
        app = gateway.runner.app
        hub = app[HUB]
        watcher = hub.watch(Caller("admin", "admin", admin=True))
        assert (await watcher.following())["type"] == "snapshot"
        for _ in range(3):
            await gateway.complete(message="Hi")
        for _ in range(3):
            await hub.count()
        delta = await watcher.following()
        assert (delta["type"], len(delta["requests"])) == ("delta", 3)
        for _ in range(12):
            await hub.count()
        assert (await watcher.following())["type"] == "snapshot"


def waiting_for_readers(gateway: Running) -> int:
    """Bytes that the gateway holds for whoever does not take them."""
    server = gateway.runner.server
    assert server is not None
    lines = [handler.transport for handler in server.connections]
    return sum(line.get_write_buffer_size() for line in lines if line is not None)


async def test_a_reader_of_the_stream_who_takes_nothing_is_kept_nothing_for() -> None:
    async with (
        ReplayServer(HELLO) as easy,
        ReplayServer(HELLO) as hard,
        running(two(easy, hard)) as gateway,
    ):
        await gateway.complete(message="Hi")
        (row,) = (await counted(gateway))["requests"]
        url = URL(gateway.url)
        # Of this size the reader takes no more, and the system's own buffers fill.
        reader, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
        lines = ("GET /monitoring/events HTTP/1.1", f"Host: {url.authority}")
        key = f"Authorization: {ADMIN['Authorization']}"
        writer.write("\r\n".join((*lines, key, "", "")).encode())
        assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
        hub = gateway.runner.app[HUB]

        async def much() -> None:
            for number in range(100):
                hub.add({**row, "request_id": f"r{hub.number}-{number}", "reason": "x" * 4000})
            await hub.count()
            await asyncio.sleep(0.005)

        async with asyncio.timeout(60):
            while not waiting_for_readers(gateway):
                await much()
        for _ in range(100):
            await much()
        # Forty megabytes of rows came since; a message or two is all that waits.
        assert waiting_for_readers(gateway) < 2**20
        writer.close()
