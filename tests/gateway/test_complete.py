"""POST /complete, over real sockets, against an upstream that plays recorded bytes."""

from __future__ import annotations

import asyncio
import re

from tests.replay.gateway import openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_body, openai_stream


async def test_a_message_streams_back_event_by_event() -> None:
    play = Play(openai_stream("Red", ", green", ", blue."), chunk=200, delay_s=0.005)
    async with (
        ReplayServer(play) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        answer = await gateway.complete(message="Three colours.", model="lab/m", user_id="ann")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache, no-transform"
        assert answer.text == "Red, green, blue."
        first = answer.events[0]
        assert set(first) == {"message", "timestamp", "user_id", "model"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["timestamp"])
        assert (first["user_id"], first["model"]) == ("ann", "m")
        assert [event["message"] for event in answer.events] == [
            "Red",
            ", green",
            ", blue.",
            "",
        ]


async def test_the_closing_event_tells_finish_usage_and_why() -> None:
    async with (
        ReplayServer(Play(openai_stream("Hi"))) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        answer = await gateway.complete(message="Hello", model="lab/m")
        closing = answer.closing
        assert closing["finish_reason"] == "stop"
        assert closing["usage"]["input_tokens"] == 3
        assert closing["usage"]["output_tokens"] == 1
        assert closing["usage"]["cached_tokens"] is None
        route = closing["route"]
        assert route["target"] == "lab/m"
        assert route["route"] == "named"
        assert route["reason"] == "The caller named the model."
        assert route["fallbacks"] == []
        assert route["request_id"] == answer.headers["X-Request-Id"]
        times = route["milliseconds"]
        assert times["classifier"] is None
        assert 0 < times["first_token"] <= times["total"]


async def test_without_stream_the_same_comes_as_one_body() -> None:
    async with (
        ReplayServer(Play(openai_body("Red."), content_type="application/json")) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        answer = await gateway.complete(message="A colour.", model="lab/m", stream=False)
        assert answer.headers["Content-Type"].startswith("application/json")
        body = answer.json
        assert body["message"] == "Red."
        assert body["finish_reason"] == "stop"
        assert body["usage"]["total_tokens"] == 5
        assert body["route"]["target"] == "lab/m"
        assert upstream.received[0].body.get("stream") in (None, False)
        labels = {"provider": "lab", "model": "other", "route": "named"}
        name = "pointsman_requests_total"
        assert gateway.counted(name, **labels, outcome="finished") == 1
        assert gateway.counted(name, **labels, outcome="cancelled") == 0


async def test_what_the_caller_asked_reaches_the_upstream() -> None:
    async with (
        ReplayServer(Play(openai_stream("ok"))) as upstream,
        running(
            settings(providers={"lab": {**openai_provider(upstream.url), "api_key": "sk-test-123"}})
        ) as gateway,
    ):
        await gateway.complete(
            message="And now?",
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello."},
            ],
            model="lab/some/model:7b",
            max_tokens=9,
            temperature=0.25,
        )
        received = upstream.received[0]
        assert received.path == "/v1/chat/completions"
        assert received.headers["authorization"] == "Bearer sk-test-123"
        assert received.headers["accept-encoding"] == "identity"
        assert received.body["model"] == "some/model:7b"
        assert received.body["max_tokens"] == 9
        assert received.body["temperature"] == 0.25
        assert received.body["stream"] is True
        assert received.body["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "And now?"},
        ]


async def test_curls_own_content_type_is_taken() -> None:
    async with (
        ReplayServer(Play(openai_stream("ok"))) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
        gateway.session.post(
            gateway.url + "/complete",
            data=b'{"message": "Hi", "model": "lab/m"}',
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ) as response,
    ):
        assert response.status == 200


async def test_a_callers_request_id_is_kept_when_it_is_harmless() -> None:
    async with (
        ReplayServer(Play(openai_stream("ok"))) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        for given, kept in (("abc-1.2_3", True), ("a b", False), ("x" * 65, False)):
            async with gateway.session.post(
                gateway.url + "/complete",
                json={"message": "Hi", "model": "lab/m"},
                headers={"X-Request-Id": given},
            ) as response:
                assert (response.headers["X-Request-Id"] == given) is kept


async def test_every_character_survives() -> None:
    texts = ("  two spaces", "\n\n", "naïve 漢字 🙂", "\u2028 and \u0085", '"quoted\\"', "\x00")
    async with (
        ReplayServer(Play(openai_stream(*texts), chunk=1)) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        answer = await gateway.complete(message="Hi", model="lab/m")
        assert answer.text == "".join(texts)
        assert answer.raw.isascii()


async def test_connections_to_the_upstream_are_used_again() -> None:
    async with (
        ReplayServer(Play(openai_stream("ok"), chunk=50)) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        for _ in range(20):
            await gateway.complete(message="Hi", model="lab/m")
        # One for the requests, and one that the look at the upstream's health opened.
        assert len(upstream.connections) <= 2


async def test_parallel_streams_do_not_mix() -> None:
    script = [Play(openai_stream(*(f"{n}-{m} " for m in range(20))), chunk=97) for n in range(30)]
    async with (
        ReplayServer(*script) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        answers = await asyncio.gather(
            *(gateway.complete(message="Hi", model="lab/m", user_id=str(n)) for n in range(30))
        )
        numbers = set()
        for n, answer in enumerate(answers):
            words = answer.text.split()
            number = words[0].split("-")[0]
            numbers.add(number)
            assert words == [f"{number}-{m}" for m in range(20)]
            assert all(event["user_id"] == str(n) for event in answer.events)
        assert len(numbers) == 30


async def test_a_models_name_can_hold_anything_and_breaks_no_header() -> None:
    async with (
        ReplayServer(Play(openai_stream("ok"))) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        for model in ("m\r\nX-Evil: 1", "模型", "m\x00", "a b"):
            answer = await gateway.complete(message="Hi", model="lab/" + model)
            assert answer.status == 200
            assert answer.text == "ok"
            assert "X-Evil" not in answer.headers
            assert upstream.received[-1].body["model"] == model
