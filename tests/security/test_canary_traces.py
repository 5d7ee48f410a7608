"""Neither a prompt nor an answer nor a token goes into a trace or onto stderr."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import orjson

from tests.monitor.test_traces import gateway, receiver
from tests.replay.server import Play, ReplayServer, openai_body

PROMPT = "canary-prompt-0008"
ANSWER = "canary-answer-0009"
TOKEN = "pm-admin-canary-token-0010-0123456789"


async def test_no_prompt_no_answer_and_no_token_stands_in_a_trace(tmp_path: Path) -> None:
    said = {"error": {"message": f"I do not like {PROMPT}", "type": "t"}}
    plays = (
        Play(openai_body(ANSWER), content_type="application/json"),
        Play(orjson.dumps(said), 400, "application/json"),
    )
    async with (
        receiver() as taken,
        ReplayServer(*plays) as upstream,
        gateway(
            tmp_path,
            upstream.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=taken.url,
            ADMIN_TOKEN=TOKEN,
        ) as served,
        aiohttp.ClientSession() as session,
    ):
        for status in (200, 400):
            async with session.post(
                served.url + "/complete",
                json={"message": PROMPT, "model": "lab/m", "stream": False},
                headers={"Authorization": f"Bearer {TOKEN}"},
            ) as answer:
                assert answer.status == status, await answer.text()
        spans = await taken.until(4)
        log = await served.stop()
    for secret in (PROMPT, ANSWER, TOKEN):
        assert secret not in repr(spans)
        assert secret not in log
