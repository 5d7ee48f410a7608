"""A webhook is told of a job's end: signed, until it answers, and never inside our own network."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from gateway.jobs.hooks import Hooks, signature, wait_before
from gateway.jobs.job import Job
from gateway.settings import Jobs
from providers.guard import RefusedAddressError, resolve_public
from tests.jobs import queues
from tests.jobs.lab import ended, lab, put, shown
from tests.jobs.queues import job
from tests.jobs.queues import put as enqueue
from tests.replay.server import Play, ReplayServer

SECRET = "tests-webhook-secret"
OK = Play(b"{}", content_type="application/json")


def settings(**more: object) -> Jobs:
    given = {"webhook_secret": SECRET, "webhook_allow": ("127.0.0.0/8",), **more}
    return Jobs.model_validate(given)


@asynccontextmanager
async def receiver(*script: Play) -> AsyncGenerator[ReplayServer]:
    async with ReplayServer(*(script or (OK,))) as server:
        yield server


async def test_the_end_of_a_job_is_told_with_a_signature() -> None:
    async with (
        receiver() as heard,
        lab(jobs=settings().model_dump()) as (gateway, _),
    ):
        name = await put(gateway, webhook=heard.url + "/hook?x=1")
        await ended(gateway, name)
        await heard.until_received(1)
        told = heard.received[0]
        assert told.path == "/hook?x=1"
        assert told.headers["x-pointsman-job"] == name
        stamp = told.headers["x-pointsman-timestamp"]
        assert abs(int(stamp) - time.time()) < 60
        raw = orjson.dumps(told.body)
        signed = hmac.new(SECRET.encode(), stamp.encode() + b"." + raw, hashlib.sha256)
        assert told.headers["x-pointsman-signature"] == "v1=" + signed.hexdigest()
        assert told.body["event"] == "job.completed"
        assert told.body["job"]["answer"]["text"] == "Hello there"
        assert "question" not in told.body["job"]
        async with asyncio.timeout(5):
            while (await shown(gateway, name))["webhook"]["state"] != "delivered":
                await asyncio.sleep(0.02)


async def test_a_receiver_that_fails_is_told_again_also_by_the_next_process(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    await queues.prepare(url)
    failing = (Play(b"", 500), Play(b"", 302, headers={"Location": "http://127.0.0.1:9/"}), OK)
    async with receiver(*failing) as heard:
        async with queues.queue(url) as first:
            (name,) = await enqueue(first, job(webhook=heard.url + "/"))
            await first.cancel(name)
            hooks = Hooks(first, settings(), _body, lambda tries: 0.0)
            hooks.start()
            await heard.until_received(1)
            # A process that is cut off before it wrote the answer down leaves it for a minute.
            await asyncio.sleep(0.3)
            await hooks.close()
        async with queues.queue(url) as second:
            hooks = Hooks(second, settings(), _body, lambda tries: 0.0)
            hooks.start()
            await heard.until_received(3)
            async with asyncio.timeout(5):
                while True:
                    found = await second.get(name)
                    assert found is not None
                    if found.hook_state == "delivered":
                        break
                    await asyncio.sleep(0.02)
            await hooks.close()
        assert found.hook_tries == 3
        assert [one.headers["x-pointsman-job"] for one in heard.received] == [name] * 3


async def test_a_receiver_that_never_answers_is_given_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    await queues.prepare(url)
    async with receiver(Play(b"", 500)) as heard, queues.queue(url) as queue:
        (name,) = await enqueue(queue, job(webhook=heard.url + "/"))
        await queue.cancel(name)
        hooks = Hooks(queue, settings(webhook_tries=2), _body, lambda tries: 0.0)
        hooks.start()
        async with asyncio.timeout(10):
            while (found := await queue.get(name)) is None or found.hook_state != "failed":
                await asyncio.sleep(0.05)
        await hooks.close()
        assert len(heard.received) == 2


async def test_an_address_that_became_private_is_not_asked(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    await queues.prepare(url)
    async with receiver() as heard, queues.queue(url) as queue:
        (name,) = await enqueue(queue, job(webhook=heard.url + "/"))
        await queue.cancel(name)
        hooks = Hooks(queue, settings(webhook_allow=(), webhook_tries=1), _body)
        hooks.start()
        async with asyncio.timeout(5):
            while (found := await queue.get(name)) is None or found.hook_state != "failed":
                await asyncio.sleep(0.02)
        await hooks.close()
        assert not heard.received


async def test_without_a_secret_no_webhook_is_taken() -> None:
    async with lab() as (gateway, _):
        body = {"message": "Hi", "model": "easy/m", "webhook": "https://example.com/"}
        headers = {"Authorization": "Bearer abc123hash"}
        async with gateway.session.post(
            gateway.url + "/jobs", json=body, headers=headers
        ) as answer:
            assert answer.status == 400
            assert "webhook_secret" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://localhost:8080/",
        "http://localhost./",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://172.16.3.4/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.100.100.200/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://",
        "//example.com/",
        "http://user:secret@example.com/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://exa mple.com/",
        "http://example.com/\0",
        "http://example.com/\r\nHost: x",
        "http://nothing.invalid/",
        "http://[::1/",
        "x" * 3000,
        "",
    ],
)
async def test_an_address_of_ours_is_refused(url: str) -> None:
    with pytest.raises(RefusedAddressError) as caught:
        await resolve_public(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://127.0.0.1:9000/", ("127.0.0.1:9000",)),
        ("http://127.0.0.1:9000/", ("127.0.0.1",)),
        ("http://127.0.0.1:9000/", ("127.0.0.0/8",)),
        ("http://localhost:9000/", ("localhost",)),
        ("http://LOCALHOST:9000/", ("localhost:9000",)),
        ("http://[::1]:9000/", ("::1/128",)),
        ("https://1.1.1.1/", ()),
        ("https://[2606:4700:4700::1111]/", ()),
    ],
)
async def test_what_is_public_or_allowed_passes_with_its_addresses(
    url: str, allow: tuple[str, ...]
) -> None:
    found = await resolve_public(url, allow)
    assert found.addresses
    assert found.tls == url.startswith("https")


@pytest.mark.parametrize("allow", [("127.0.0.1:9001",), ("10.0.0.0/8",), ("localhost",), ("::1",)])
async def test_allowing_one_address_allows_no_other(allow: tuple[str, ...]) -> None:
    with pytest.raises(RefusedAddressError):
        await resolve_public("http://127.0.0.1:9000/", allow)


def test_waits_grow_and_stay_under_an_hour_or_so() -> None:
    waits = [wait_before(tries) for tries in range(1, 60)]
    assert 1.6 <= waits[0] <= 2.4
    assert waits[5] > 10 * waits[0]
    assert max(waits) <= 3600 * 1.2


def test_a_signature_is_of_time_and_body() -> None:
    one = signature("k", 1, b"x")
    assert one.startswith("v1=")
    assert (
        len({one, signature("k", 2, b"x"), signature("k", 1, b"y"), signature("j", 1, b"x")}) == 4
    )


def _body(job: Job) -> bytes:
    return b'{"job":"%b"}' % job.id.encode()
