"""Whatever a caller sends, at any door that reads a body, he is answered, and never with a 500."""

from __future__ import annotations

import asyncio
import random
import string
from typing import Any

import orjson
import pytest

from tests.replay.gateway import openai_provider, running, settings
from tests.replay.server import Play, ReplayServer, openai_stream
from tests.sockets.talk import chatting

DOORS = {
    "/complete": {"message": "hello", "model": "easy/m"},
    "/v1/chat/completions": {
        "model": "easy/m",
        "messages": [{"role": "user", "content": "hello"}],
    },
    "/v1/responses": {"model": "easy/m", "input": "hello"},
    "/v1/messages": {
        "model": "easy/m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hello"}],
    },
    "/api/chat": {"model": "easy/m", "messages": [{"role": "user", "content": "hello"}]},
    "/v1beta/models/easy%2Fm:generateContent": {"contents": [{"parts": [{"text": "hello"}]}]},
    "/jobs": {"message": "hello", "model": "easy/m"},
    "/jobs/batch": {"requests": [{"message": "hello", "model": "easy/m"}]},
}
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, -(2**63), 1e308, 0.1, "", " ", "\x00", "\ud7ff", "a" * 5000),
    *([], [[]], [None], {}, {"": None}, {"type": "text"}, [{"role": "user"}], [{"type": []}]),
)
TIMES = 120


def spoiled(chance: random.Random, value: Any, depth: int = 0) -> Any:
    """The value with one place in it replaced, added or taken away."""
    if isinstance(value, dict) and value and (depth == 0 or chance.random() < 0.7):
        found = dict(value)
        name = chance.choice(sorted(found))
        what = chance.random()
        if what < 0.15:
            del found[name]
        elif what < 0.3:
            found["".join(chance.choices(string.ascii_letters, k=6))] = chance.choice(STRANGE)
        else:
            found[name] = spoiled(chance, found[name], depth + 1)
        return found
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], spoiled(chance, value[at], depth + 1), *value[at + 1 :]]
    return chance.choice(STRANGE)


def raw(chance: random.Random, body: Any) -> bytes:
    """Bytes that may be cut, or broken somewhere."""
    whole = orjson.dumps(body)
    what = chance.random()
    if what < 0.1:
        return whole[: chance.randrange(len(whole) + 1)]
    if what < 0.2 and whole:
        at = chance.randrange(len(whole))
        return whole[:at] + bytes([chance.randrange(256)]) + whole[at + 1 :]
    return whole


@pytest.mark.parametrize("door", DOORS)
async def test_no_body_is_a_fault_of_ours(door: str) -> None:
    chance = random.Random(door)
    async with (
        ReplayServer(Play(openai_stream("Hel", "lo"))) as upstream,
        running(settings(providers={"easy": openai_provider(upstream.url)})) as gateway,
    ):
        for _ in range(TIMES):
            body = raw(chance, spoiled(chance, DOORS[door]))
            async with gateway.session.post(
                gateway.url + door, data=body, headers={"Content-Type": "application/json"}
            ) as answer:
                told = await answer.read()
                assert answer.status != 500, (body, told)
                assert answer.status in (200, 202, 400, 404, 413, 422, 502), (body, told)
        # What was put in line may still run.
        async with asyncio.timeout(10):
            while gateway.counted("pointsman_in_flight"):
                await asyncio.sleep(0.01)


async def test_no_message_on_a_socket_is_a_fault_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chance = random.Random(7)
    sound = {"type": "start", "id": "one", "model": "easy/m", "message": "hello"}
    async with (
        ReplayServer(Play(openai_stream("Hel", "lo"))) as upstream,
        running(settings(providers={"easy": openai_provider(upstream.url)})) as gateway,
    ):
        for _ in range(TIMES // 4):
            async with chatting(gateway) as client:
                await client.socket.send_bytes(raw(chance, sound))
                await client.socket.send_str(raw(chance, spoiled(chance, sound)).decode("latin-1"))
        # Whoever comes then is answered as ever.
        async with chatting(gateway) as client:
            answer = await client.start(model="easy/m", message="hello")
            assert (await client.until_ended(answer))[-1]["type"] == "done"
    assert not [one for one in caplog.records if one.exc_info], caplog.text
