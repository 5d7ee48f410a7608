"""Vectors take the same walk as chats: retries, rests, and what a caller is told."""

from __future__ import annotations

from typing import Any

from gateway.engine.ports import Settlement
from tests.replay.gateway import Answer, Running, openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_error

VECTORS = Play(
    b'{"object": "list", "data": [{"index": 0, "embedding": [1.0, 2.0]}],'
    b' "usage": {"prompt_tokens": 3, "total_tokens": 3}}',
    content_type="application/json",
)


async def embed(gateway: Running) -> Answer:
    body: dict[str, Any] = {"model": "lab/e", "input": "Hi"}
    async with gateway.session.post(gateway.url + "/v1/embeddings", json=body) as response:
        return Answer(response.status, response.headers, await response.read())


async def test_embeddings_are_retried_and_settled_with_their_attempts() -> None:
    async with (
        ReplayServer(openai_error(500), VECTORS) as upstream,
        running(settings(providers={"lab": openai_provider(upstream.url)})) as gateway,
    ):
        settled: list[Settlement] = []
        gateway.services.recorder.listeners.append(settled.append)
        answer = await embed(gateway)
        assert answer.status == 200
        assert answer.json["data"][0]["embedding"] == [1.0, 2.0]
        [one] = settled
        assert [attempt.outcome for attempt in one.attempts] == ["upstream_error", "finished"]
        assert one.usage.input_tokens == 3


async def test_a_target_that_rests_is_not_asked_for_vectors_either() -> None:
    async with (
        ReplayServer(openai_error(500)) as upstream,
        running(
            settings(
                providers={"lab": openai_provider(upstream.url)},
                attempts={"per_target": 1},
                cooldown={"failures": 2, "rest_s": 60},
            )
        ) as gateway,
    ):
        assert [(await embed(gateway)).status for _ in range(2)] == [502, 502]
        upstream.play(openai_error(429, **{"Retry-After": "30"}))
        # One probe finds out early, as nobody else is there; it is told to wait.
        assert (await embed(gateway)).status == 429
        asked = len(upstream.received)
        answer = await embed(gateway)
        assert answer.status == 429
        assert answer.headers["Retry-After"]
        assert len(upstream.received) == asked
