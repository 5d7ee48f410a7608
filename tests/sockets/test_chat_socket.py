"""WS /ws/chat against a real gateway on the production runner and a real upstream."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.replay.gateway import openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error, openai_stream
from tests.sockets.talk import HELLO, chatting, one, text_of

SLOW = Play(openai_stream(*[f"{n} " for n in range(40)]), chunk=200, delay_s=0.02)
STALLED = Play(openai_stream("some", "thing"), stall=330)


async def test_an_answer_streams_and_ends_with_the_closing_fields_of_complete() -> None:
    async with ReplayServer(HELLO) as upstream, running(one(upstream)) as gateway:
        async with chatting(gateway) as client:
            answer = await client.start(model="easy/m", message="Hi")
            heard = await client.until_ended(answer)
        assert text_of(heard, answer) == "Hello!"
        done = heard[-1]
        assert done["finish_reason"] == "stop"
        assert done["stopped"] is False
        assert done["usage"]["output_tokens"] == 3
        assert done["route"]["target"] == "easy/m"
        assert done["route"]["request_id"] == answer
        http = (await gateway.complete(message="Hi", model="easy/m")).closing
        assert set(http) - {"done", "message", "user_id"} <= set(done)
        assert gateway.counted(
            "pointsman_requests_total",
            provider="easy",
            model="other",
            route="named",
            outcome="finished",
        )


async def test_it_says_what_happens_before_the_first_token() -> None:
    refused = Play(status=500, content_type="application/json", body=b"{}")
    async with ReplayServer(refused) as bad, ReplayServer(HELLO) as good:
        given = settings(
            providers={"easy": openai_provider(bad.url), "hard": openai_provider(good.url)},
            classifier={"on_failure": "local"},
            attempts={"per_target": 1},
        )
        async with running(given) as gateway, chatting(gateway) as client:
            answer = await client.start(message="Hi")
            heard = await client.until_ended(answer)
        states = [(one["state"], one.get("target")) for one in heard if one["type"] == "status"]
        assert states == [
            ("routing", None),
            ("routed", None),
            ("asking", "easy/m"),
            ("next", "easy/m"),
            ("asking", "hard/m"),
        ]
        routed = next(one for one in heard if one.get("state") == "routed")
        assert (routed["route"], routed["tier"], routed["score"]) == ("auto", "local", None)
        assert [step["target"] for step in heard[-1]["route"]["fallbacks"]] == ["easy/m"]


async def test_a_model_server_of_ones_own_that_says_nothing_is_loading() -> None:
    late = Play(openai_stream("Hello"), before_s=2.4)
    async with ReplayServer(late) as upstream:
        given = settings(providers={"vllm": openai_provider(upstream.url)})
        async with running(given) as gateway, chatting(gateway) as client:
            answer = await client.start(model="vllm/m", message="Hi")
            heard = await client.until_ended(answer)
    states = [(one["state"], one.get("target")) for one in heard if one["type"] == "status"]
    assert states[-2:] == [("asking", "vllm/m"), ("loading", "vllm/m")]


async def test_answers_run_side_by_side_on_one_socket() -> None:
    async with ReplayServer(SLOW) as slow, ReplayServer(HELLO) as quick:
        given = settings(
            providers={"easy": openai_provider(slow.url), "hard": openai_provider(quick.url)}
        )
        async with running(given) as gateway, chatting(gateway) as client:
            first = await client.start(model="easy/m", message="Hi")
            await client.until("delta", first)
            second = await client.start(model="hard/m", message="Hi")
            heard = await client.until_ended(second)
            assert not [m for m in heard if m["id"] == first and m["type"] == "done"]
            assert text_of(heard, second) == "Hello!"
            assert (await client.until_ended(first))[-1]["type"] == "done"


async def test_stop_leaves_the_upstream_and_says_done() -> None:
    async with ReplayServer(STALLED) as upstream, running(one(upstream)) as gateway:
        async with chatting(gateway) as client:
            answer = await client.start(model="easy/m", message="Hi")
            await client.until("delta")
            await client.say(type="stop", id=answer)
            done = (await client.until_ended(answer))[-1]
            assert (done["type"], done["stopped"], done["finish_reason"]) == ("done", True, None)
            assert done["route"]["target"] == "easy/m"
            await upstream.until_left()
            await client.say(type="stop", id=answer)
            assert (await client.hear()) == done
        assert gateway.summed("pointsman_requests_total", outcome="cancelled") == 1


async def test_a_broken_connection_loses_nothing_and_asks_nobody_twice() -> None:
    async with ReplayServer(SLOW) as upstream, running(one(upstream)) as gateway:
        async with chatting(gateway) as client:
            answer = await client.start(model="easy/m", message="Hi")
            before = await client.until("delta")
            seen = before[-1]["next"]
            transport = client.socket._response.connection
            assert transport is not None
            assert transport.transport is not None
            transport.transport.abort()
        await asyncio.sleep(0.1)
        async with chatting(gateway) as client:
            await client.say(type="resume", id=answer, offset=seen)
            after = await client.until_ended(answer)
        whole = text_of(before + after, answer)
        assert whole == "".join(f"{n} " for n in range(40))
        assert after[-1]["type"] == "done"
        assert len(upstream.received) == 1
        assert gateway.summed("pointsman_requests_total", outcome="finished") == 1


async def test_an_ended_answer_is_read_again_whole_in_few_messages() -> None:
    async with ReplayServer(SLOW) as upstream, running(one(upstream)) as gateway:
        async with chatting(gateway) as client:
            answer = await client.start(model="easy/m", message="Hi")
            await client.until_ended(answer)
        async with chatting(gateway) as client:
            await client.say(type="resume", id=answer, offset=0)
            again = await client.until_ended(answer)
        assert len(again) == 2
        assert text_of(again, answer).startswith("0 1 2 ")


async def test_an_answer_that_nobody_comes_back_for_is_stopped() -> None:
    async with ReplayServer(STALLED) as upstream:
        given = one(upstream, web={"orphan_s": 0.05, "kept_s": 0.2})
        async with running(given) as gateway:
            async with chatting(gateway) as client:
                answer = await client.start(model="easy/m", message="Hi")
                await client.until("delta")
            await upstream.until_left()
            await asyncio.sleep(0.3)
            async with chatting(gateway) as client:
                await client.say(type="resume", id=answer, offset=0)
                error = await client.hear()
            assert (error["type"], error["code"]) == ("error", "unknown_id")


async def test_a_second_socket_takes_an_answer_over() -> None:
    async with (
        ReplayServer(SLOW) as upstream,
        running(one(upstream)) as gateway,
        chatting(gateway) as first,
    ):
        answer = await first.start(model="easy/m", message="Hi")
        await first.until("delta")
        async with chatting(gateway) as second:
            await second.say(type="resume", id=answer, offset=0)
            heard = await second.until_ended(answer)
        assert text_of(heard, answer).endswith("39 ")
        assert len(upstream.received) == 1


async def test_what_is_kept_is_bounded_in_bytes() -> None:
    long = Play(openai_stream("x" * 1500))
    async with (
        ReplayServer(long) as upstream,
        running(one(upstream, web={"kept_bytes": 2048})) as gateway,
        chatting(gateway) as client,
    ):
        first = await client.start(model="easy/m", message="Hi")
        await client.until_ended(first)
        second = await client.start(model="easy/m", message="Hi")
        await client.until_ended(second)
        await client.say(type="resume", id=first, offset=0)
        assert (await client.hear())["code"] == "unknown_id"
        await client.say(type="resume", id=second, offset=0)
        assert len(text_of(await client.until_ended(second), second)) == 1500


async def test_a_failure_before_and_after_the_first_token_is_an_error_of_its_answer() -> None:
    cut = Play(openai_stream("some", "thing"), cut=330)
    async with (
        ReplayServer(openai_error(400, "bad question"), cut) as upstream,
        running(one(upstream)) as gateway,
        chatting(gateway) as client,
    ):
        first = await client.start(model="easy/m", message="Hi")
        error = (await client.until_ended(first))[-1]
        assert (error["kind"], error["retryable"]) == ("bad_request", False)
        assert error["route"]["target"] == "easy/m"
        second = await client.start(model="easy/m", message="Hi")
        heard = await client.until_ended(second)
        assert text_of(heard, second) == "some"
        assert (heard[-1]["kind"], heard[-1]["retryable"]) == ("upstream_error", True)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"type": "start", "message": "Hi"}, "id"),
        ({"type": "start", "id": "short", "message": "Hi"}, "id"),
        ({"type": "start", "id": "x" * 20}, "messages"),
        ({"type": "start", "id": "x" * 20, "message": " "}, "message"),
        ({"type": "start", "id": "x" * 20, "message": "Hi", "temperature": 9}, "temperature"),
        ({"type": "start", "id": "x" * 20, "message": "Hi", "provider": "nobody"}, "provider"),
        ({"type": "resume", "id": "x" * 20, "offset": -1}, "offset"),
        ({"type": "dance", "id": "x" * 20}, "type"),
        ({"type": "hello"}, "type"),
    ],
)
async def test_a_wrong_message_is_an_error_and_the_socket_goes_on(
    message: dict[str, Any], param: str
) -> None:
    async with (
        ReplayServer(HELLO) as upstream,
        running(one(upstream)) as gateway,
        chatting(gateway) as client,
    ):
        await client.say(**message)
        error = await client.hear()
        assert (error["type"], error["kind"], error["param"]) == ("error", "bad_request", param)
        answer = await client.start(model="easy/m", message="Hi")
        assert (await client.until_ended(answer))[-1]["type"] == "done"


async def test_an_id_is_used_once() -> None:
    async with (
        ReplayServer(HELLO) as upstream,
        running(one(upstream)) as gateway,
        chatting(gateway) as client,
    ):
        answer = await client.start(model="easy/m", message="Hi")
        await client.until_ended(answer)
        await client.say(type="start", id=answer, model="easy/m", message="Hi")
        assert (await client.hear())["code"] == "id_taken"
        assert len(upstream.received) == 1


async def test_one_socket_runs_a_bounded_number_of_answers() -> None:
    async with (
        ReplayServer(STALLED) as upstream,
        running(one(upstream, web={"running": 1})) as gateway,
        chatting(gateway) as c,
    ):
        first = await c.start(model="easy/m", message="Hi")
        await c.until("delta")
        await c.start(model="easy/m", message="Hi")
        error = await c.hear()
        assert (error["kind"], error["code"]) == ("rate_limited", "too_many_answers")
        await c.say(type="stop", id=first)
        await c.until_ended(first)


async def test_pictures_schemas_and_sampling_reach_the_upstream() -> None:
    picture = "data:image/png;base64,iVBORw0KGgo="
    schema = {"name": "n", "schema": {"type": "object"}}
    async with ReplayServer(Play(openai_stream("{}"))) as upstream:
        async with running(one(upstream)) as gateway, chatting(gateway) as client:
            answer = await client.start(
                model="easy/m",
                messages=[
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What?"},
                            {"type": "image_url", "image_url": {"url": picture}},
                        ],
                    }
                ],
                temperature=0.5,
                response_format={"type": "json_schema", "json_schema": schema},
            )
            heard = await client.until_ended(answer)
            assert heard[-1]["type"] == "done", heard[-1]
        sent = upstream.received[0].body
        assert sent["messages"][0]["content"][1]["image_url"]["url"] == picture
        assert sent["temperature"] == 0.5
        assert sent["response_format"]["type"] == "json_schema"


async def test_what_is_no_json_object_closes_the_socket() -> None:
    given = settings(web={"message_bytes": 2048})
    async with running(given) as gateway:
        async with chatting(gateway) as client:
            await client.socket.send_str("[1]")
            assert (await client.hear())["kind"] == "bad_request"
            await client.socket.receive()
            assert client.socket.close_code == 4400
        async with chatting(gateway) as client:
            await client.socket.send_str("x" * 3000)
            await client.socket.receive()
            assert client.socket.close_code == 1009


async def test_a_plain_request_is_told_what_is_spoken_here() -> None:
    async with (
        ReplayServer(HELLO) as upstream,
        running(one(upstream)) as gateway,
        gateway.session.get(gateway.url + "/ws/chat") as response,
    ):
        assert response.status == 400
        assert "WebSocket" in (await response.json())["error"]["message"]


async def test_a_reader_who_takes_nothing_holds_nothing_up() -> None:
    pieces = ["y" * 1000] * 4000
    async with (
        ReplayServer(Play(openai_stream(*pieces))) as upstream,
        running(one(upstream)) as gateway,
    ):
        async with chatting(gateway, max_msg_size=0) as client:
            answer = str(uuid.uuid4())
            assert client.socket._reader is not None
            client.socket._reader._protocol.pause_reading()
            await client.say(type="start", id=answer, model="easy/m", message="Hi")
            async with asyncio.timeout(10):
                while not gateway.summed("pointsman_requests_total", outcome="finished"):
                    await asyncio.sleep(0.02)
            client.socket._reader._protocol.resume_reading()
            heard = await client.until_ended(answer)
        assert text_of(heard, answer) == "".join(pieces)
        assert len(heard) < 1500


async def test_a_gateway_that_stops_ends_answers_with_a_retryable_error() -> None:
    async with ReplayServer(STALLED) as upstream:
        given = one(upstream, server={"port": 0, "drain_s": 0.6})
        async with (
            running(given) as gateway,
            chatting(gateway) as idle,
            chatting(gateway) as client,
        ):
            answer = await client.start(model="easy/m", message="Hi")
            await client.until("delta")
            stopping = asyncio.create_task(gateway.runner.cleanup())
            assert await idle.hear() == {"type": "draining"}
            await idle.socket.receive()
            assert idle.socket.close_code == 1001
            assert not client.socket.closed
            assert await client.hear() == {"type": "draining"}
            error = (await client.until_ended(answer))[-1]
            assert (error["kind"], error["retryable"]) == ("overloaded", True)
            await client.socket.receive()
            assert client.socket.close_code == 1001
            await stopping
