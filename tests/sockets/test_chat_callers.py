"""Who may use /ws/chat, and whose answers he reads there."""

from __future__ import annotations

import aiohttp
import pytest

from tests.replay.gateway import ADMIN, running
from tests.replay.server import ReplayServer
from tests.sockets.talk import HELLO, chatting, one


async def test_a_wrong_token_is_told_and_the_socket_closed() -> None:
    async with (
        ReplayServer(HELLO) as upstream,
        running(one(upstream)) as gateway,
        chatting(gateway, hello=False) as client,
    ):
        await client.say(type="hello", token="wrong")
        assert (await client.hear())["kind"] == "not_identified"
        assert (await client.socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert client.socket.close_code == 4401


async def test_the_admin_signs_in_by_header_or_by_hello() -> None:
    token = ADMIN["Authorization"].removeprefix("Bearer ")
    async with ReplayServer(HELLO) as upstream, running(one(upstream)) as gateway:
        async with chatting(gateway, hello=False, headers=ADMIN) as client:
            assert (await client.hear())["caller"]["admin"] is True
        async with chatting(gateway, hello=False) as client:
            await client.say(type="hello", token=token)
            assert (await client.hear())["caller"]["admin"] is True


async def test_one_caller_does_not_read_anothers_answer() -> None:
    async with ReplayServer(HELLO) as upstream, running(one(upstream)) as gateway:
        async with chatting(gateway) as client:
            answer = await client.start(model="easy/m", message="Hi")
            await client.until_ended(answer)
        async with chatting(gateway, hello=False, headers=ADMIN) as client:
            await client.hear()
            await client.say(type="resume", id=answer, offset=0)
            assert (await client.hear())["code"] == "unknown_id"


async def test_a_page_of_another_site_is_refused() -> None:
    async with ReplayServer(HELLO) as upstream, running(one(upstream)) as gateway:
        for origin in ("https://evil.example", "null"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with chatting(gateway, headers={"Origin": origin}):
                    pass
            assert refused.value.status == 403
        async with chatting(gateway, headers={"Origin": gateway.url}) as client:
            await client.say(type="ping")
            assert await client.hear() == {"type": "pong"}
