"""The classifier slow, dead or lying: every request goes on, within the deadline, and says why."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest

from gateway.classifier_client import HttpClassifier
from gateway.settings import Classifier
from providers import http1
from tests.accounts.processes import gateway
from tests.faults.seen import asked, sample
from tests.replay.server import Play, ReplayServer, openai_body

HELLO = Play(openai_body("hello"), content_type="application/json")
TIER = {"tier": "local", "score": 0.2}
LIES: dict[str, bytes] = {
    "no JSON": b"yes",
    "empty": b"",
    "null": b"null",
    "a list": b"[1, 2]",
    "nothing in it": b"{}",
    "a tier that is none": orjson.dumps({**TIER, "tier": "gigantic"}),
    "a tier of the wrong type": orjson.dumps({**TIER, "tier": {"a": 1}}),
    "a score of the wrong type": orjson.dumps({**TIER, "score": "0.2"}),
    "a score that is a list": orjson.dumps({**TIER, "score": [0.2]}),
    "a score that is true": orjson.dumps({**TIER, "score": True}),
    "NaN": b'{"tier": "local", "score": NaN}',
    "infinity": b'{"tier": "local", "score": 1e999}',
    "a huge number": b'{"tier": "local", "score": ' + b"9" * 5000 + b"}",
    "below 0": orjson.dumps({**TIER, "score": -0.1}),
    "a length that is none": orjson.dumps({**TIER, "length": "long"}),
    "a length below 0": orjson.dumps({**TIER, "length": -5}),
    "chances that are none": orjson.dumps({**TIER, "tiers": {"local": 7}}),
    "a thousand chances": orjson.dumps({**TIER, "tiers": {str(n): 0.1 for n in range(1000)}}),
    "ten megabytes": b'{"tier": "local", "score": 0.2, "x": "' + b"a" * 10_000_000 + b'"}',
    "nested without end": b'{"tier": ' * 20_000,
    "no text": b"\xff\xfe\x00\x80",
}


def toml(upstream: str, classifier: str) -> str:
    return f"""max_lag_ms = 60000
[classifier]
url = "{classifier}"
timeout_ms = 200
cache_size = 0
on_failure = "strong"
[providers.weak]
kind = "openai"
base_url = "{upstream}/v1"
[providers.great]
kind = "openai"
base_url = "{upstream}/v1"
[routes.auto]
local = ["weak/m"]
strong = ["great/m"]
[store]
database = ""
"""


async def told(url: str, number: int) -> tuple[str, str]:
    """Target and reason of one request."""
    status, raw = await asked(url, message=f"question {number}")
    assert status == 200, raw
    route = orjson.loads(raw)["route"]
    return route["target"], route["reason"]


@pytest.mark.parametrize("fault", ["slow", "silent behind its headers", "dead"])
async def test_a_classifier_that_does_not_answer_costs_no_more_than_its_deadline(
    fault: str, tmp_path: Path
) -> None:
    before_s = 30.0 if fault == "slow" else 0.0
    play = Play(b"{}", content_type="application/json", stall=1, before_s=before_s)
    async with ReplayServer(play) as classifier, ReplayServer(HELLO) as upstream:
        where = "http://127.0.0.1:9" if fault == "dead" else classifier.url
        async with gateway(tmp_path, toml(upstream.url, where)) as running:
            began = time.monotonic()
            answers = await asyncio.gather(*(told(running.url, number) for number in range(40)))
            # Some asked it, each at most the deadline; the others were spared.
            assert time.monotonic() - began < 10
            assert {target for target, _ in answers} == {"great/m"}
            words = "cannot be reached" if fault == "dead" else "no answer in 200 ms"
            assert any(words in reason for _, reason in answers), answers
            later = await told(running.url, 99)
            assert "left alone" in later[1] or words in later[1]
            assert await sample(running.url, "pointsman_requests_total", outcome="finished") == 41
            assert upstream.open == 0


async def test_a_classifier_that_lies_is_not_believed(tmp_path: Path) -> None:
    async with (
        ReplayServer(HELLO) as classifier,
        ReplayServer(HELLO) as upstream,
        gateway(tmp_path, toml(upstream.url, classifier.url)) as running,
    ):
        for number, (name, lie) in enumerate(LIES.items()):
            classifier.play(Play(lie, content_type="application/json"))
            for turn in range(60):
                target, reason = await told(running.url, 100 * number + turn)
                if "left alone" not in reason:
                    break
                await asyncio.sleep(0.05)
            assert target == "great/m", name
            assert "makes no sense" in reason or "no answer in" in reason, (name, reason)
        # And once it is honest again it is asked again.
        classifier.play(Play(orjson.dumps(TIER), content_type="application/json"))
        async with asyncio.timeout(10):
            while (await told(running.url, 9999))[0] != "weak/m":
                await asyncio.sleep(0.1)


class Worker:
    """A classifier that closes every connection under its second question, as one does whose worker
    is replaced just then."""

    def __init__(self, deaf: bool = False) -> None:
        self.deaf = deaf
        """Closes under the first one, too."""
        self.answered = self.closed = 0

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = orjson.dumps({**TIER, "version": "1"})
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        try:
            for number in range(2):
                asked = await reader.readuntil(b"\r\n\r\n")
                length = int(asked.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                if number or self.deaf:
                    self.closed += 1
                    return
                writer.write(head % len(answer) + answer)
                self.answered += 1
        except asyncio.IncompleteReadError:
            pass  # The gateway left.
        finally:
            writer.close()
            await writer.wait_closed()


async def opinions(worker: Worker, count: int) -> list[str | None]:
    """What failed, of so many questions, one after the other."""
    server = await asyncio.start_server(worker.speak, "127.0.0.1", 0)
    client = http1.Client()
    host, port = server.sockets[0].getsockname()[:2]
    asker = HttpClassifier(Classifier(url=f"http://{host}:{port}", timeout_ms=5000), client)
    try:
        return [(await asker.ask(f"question {n}")).failure for n in range(count)]
    finally:
        await client.close()
        server.close()
        await server.wait_closed()
        # The last connection's end is heard.
        await asyncio.sleep(0.05)


async def test_a_connection_closed_under_a_question_is_no_failure_of_the_classifier() -> None:
    worker = Worker()
    assert await opinions(worker, 6) == [None] * 6
    # The first was answered, the second on the same connection was closed and asked anew, ...
    assert (worker.answered, worker.closed) == (6, 5)


async def test_a_classifier_that_closes_every_connection_is_asked_twice_and_no_more() -> None:
    worker = Worker(deaf=True)
    assert await opinions(worker, 2) == ["it cannot be reached"] * 2
    assert worker.closed == 4
