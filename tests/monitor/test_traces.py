"""Traces of a real gateway process, taken by a real OTLP receiver that decodes the protobuf."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.replay.server import Play, ReplayServer, answering, openai_body, openai_stream

ROOT = Path(__file__).parents[2]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass
class Span:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    status: int
    start: int
    end: int
    attributes: dict[str, Any]
    events: list[str]
    service: str


@dataclass
class Receiver:
    """POST /v1/traces, as a collector takes it."""

    spans: list[Span] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("POST", "/v1/traces")
        assert request.content_type == "application/x-protobuf"
        batch = ExportTraceServiceRequest.FromString(await request.read())
        for resource in batch.resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                assert scope.scope.name == "pointsman"
                for one in scope.spans:
                    self.spans.append(
                        Span(
                            one.name,
                            one.trace_id.hex(),
                            one.span_id.hex(),
                            one.parent_span_id.hex(),
                            one.kind,
                            one.status.code,
                            one.start_time_unix_nano,
                            one.end_time_unix_nano,
                            {each.key: _value(each.value) for each in one.attributes},
                            [event.name for event in one.events],
                            named["service.name"],
                        )
                    )
        return web.Response(content_type="application/x-protobuf")

    async def until(self, count: int) -> list[Span]:
        async with asyncio.timeout(15):
            while len(self.spans) < count:
                await asyncio.sleep(0.05)
        return self.spans


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver]:
    found = Receiver()
    async with answering(found.take) as found.url:
        yield found


@asynccontextmanager
async def classifier(seen: list[str]) -> AsyncGenerator[str]:
    """Says that everything is easy, and keeps the traceparent that came."""

    async def classify(request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("POST", "/classify")
        seen.append(request.headers.get("traceparent", ""))
        verdict = {
            "tier": "local",
            "score": 0.9,
            "percentile": 0.5,
            "domain": "chat",
            "version": "1",
        }
        return web.json_response(verdict)

    async with answering(classify) as url:
        yield url


@dataclass
class Gateway:
    url: str
    child: asyncio.subprocess.Process
    log: Path

    async def stop(self) -> str:
        self.child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await self.child.wait() == 0
        return self.log.read_text()


@asynccontextmanager
async def gateway(
    folder: Path, upstream: str, classifier: str = "http://127.0.0.1:1", **environment: str
) -> AsyncGenerator[Gateway]:
    (folder / "gateway.toml").write_text(f"""
[server]
port = 0
[classifier]
url = "{classifier}"
timeout_ms = 2000
[providers.lab]
kind = "openai"
base_url = "{upstream}/v1"
[providers.ill]
kind = "openai"
base_url = "{upstream}/v1"
[attempts]
per_target = 1
[routes.auto]
local = ["ill/gone", "lab/m"]
strong = ["lab/m"]
""")
    log = folder / "log"
    with log.open("wb") as out:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "--config", "gateway.toml"),
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "LOG_FORMAT": "json",
                **environment,
            },
            stdout=out,
            stderr=out,
        )
    try:
        async with asyncio.timeout(30):
            while not (found := re.search(r"is ready at (\S+)", log.read_text())):
                assert child.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield Gateway(found[1], child, log)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def test_a_request_has_a_span_its_classifier_one_and_each_attempt_one(tmp_path: Path) -> None:
    heard: list[str] = []
    play = Play(openai_stream("Hello", " there"), chunk=120, delay_s=0.02)
    async with (
        receiver() as taken,
        classifier(heard) as judge,
        ReplayServer(Play(b"{}", status=500), play) as upstream,
        gateway(
            tmp_path,
            upstream.url,
            judge,
            OTEL_EXPORTER_OTLP_ENDPOINT=taken.url,
            OTEL_SERVICE_NAME="points",
        ) as served,
        aiohttp.ClientSession() as session,
    ):
        given = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}
        async with session.post(
            served.url + "/complete", json={"message": "Hi"}, headers=given
        ) as answer:
            assert b'"done":true' in await answer.read()
        spans = await taken.until(4)
        log = await served.stop()
        to_ill, to_good = (one.headers for one in upstream.received)

    (root,) = [span for span in spans if span.parent_id == SPAN]
    assert (root.name, root.kind, root.status) == ("POST /complete", 2, 0)
    assert {span.trace_id for span in spans} == {TRACE}
    assert {span.service for span in spans} == {"points"}
    said = root.attributes
    assert said["http.request.method"] == "POST"
    assert said["http.route"] == "/complete"
    assert said["http.response.status_code"] == 200
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "lab"
    assert said["gen_ai.response.model"] == "m"
    assert said["gen_ai.usage.input_tokens"] == 3
    assert said["gen_ai.usage.output_tokens"] == 2
    assert said["pointsman.tier"] == "local"
    assert said["pointsman.outcome"] == "finished"

    children = {span.name: span for span in spans if span is not root}
    assert set(children) == {"classify", "chat gone", "chat m"}
    for span in children.values():
        assert span.parent_id == root.span_id
        assert span.kind == 3
        assert root.start <= span.start <= span.end <= root.end
    assert children["classify"].attributes["pointsman.score"] == 0.9
    ill = children["chat gone"]
    assert ill.status == 2
    assert ill.attributes["error.type"] == ill.attributes["pointsman.outcome"]
    good = children["chat m"]
    assert good.status == 0
    assert good.events == ["first_token"]
    assert good.attributes["gen_ai.request.model"] == "m"
    assert good.attributes["gen_ai.usage.output_tokens"] == 2
    assert 0 < good.attributes["gen_ai.response.time_to_first_chunk"] < 5
    assert ill.end <= good.start

    assert heard == [f"00-{TRACE}-{children['classify'].span_id}-01"]
    assert to_ill["traceparent"] == f"00-{TRACE}-{ill.span_id}-01"
    assert to_good["traceparent"] == f"00-{TRACE}-{good.span_id}-01"
    assert to_good["tracestate"] == "vendor=1"
    lines = [orjson.loads(line) for line in log.splitlines() if line.startswith("{")]
    (access,) = [line for line in lines if line["logger"] == "pointsman.access"]
    assert access["trace_id"] == TRACE


async def test_a_failure_is_an_error_and_a_request_without_a_parent_begins_a_trace(
    tmp_path: Path,
) -> None:
    async with (
        receiver() as taken,
        ReplayServer(Play(b"{}", status=500)) as upstream,
        gateway(
            tmp_path,
            upstream.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"{taken.url}/",
        ) as served,
        aiohttp.ClientSession() as session,
    ):
        for _ in range(2):
            async with session.post(
                served.url + "/v1/chat/completions",
                json={"model": "lab/m", "messages": [{"role": "user", "content": "Hi"}]},
                headers={"traceparent": "00-nonsense"},
            ) as answer:
                assert answer.status >= 500
        spans = await taken.until(4)
        await served.stop()
    roots = [span for span in spans if not span.parent_id]
    assert len(roots) == len({span.trace_id for span in roots}) == 2
    for root in roots:
        assert root.status == 2
        assert root.attributes["error.type"]
        assert "http.response.status_code" not in root.attributes
    assert {span.status for span in spans} == {2}


async def test_a_caller_who_does_not_sample_leaves_no_spans_but_his_ids_go_on(
    tmp_path: Path,
) -> None:
    play = Play(openai_body("x"), content_type="application/json")
    async with (
        receiver() as taken,
        ReplayServer(play) as upstream,
        gateway(
            tmp_path,
            upstream.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=taken.url,
            OTEL_TRACES_SAMPLER_ARG="0",
        ) as served,
        aiohttp.ClientSession() as session,
    ):
        for headers in ({"traceparent": f"00-{TRACE}-{SPAN}-00"}, {}):
            async with session.post(
                served.url + "/complete",
                json={"message": "Hi", "model": "lab/m", "stream": False},
                headers=headers,
            ) as answer:
                assert answer.status == 200
        await served.stop()
        assert taken.spans == []
        first, second = (one.headers["traceparent"] for one in upstream.received)
    assert first.startswith(f"00-{TRACE}-")
    assert first.endswith("-00")
    assert TRACE not in second


async def test_what_waits_at_a_stop_is_sent_and_a_dead_receiver_holds_nobody_up(
    tmp_path: Path,
) -> None:
    play = Play(openai_body("x"), content_type="application/json")
    ask = {"message": "Hi", "model": "lab/m", "stream": False}
    async with (
        receiver() as taken,
        ReplayServer(play) as upstream,
        gateway(
            tmp_path,
            upstream.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=taken.url,
        ) as served,
        aiohttp.ClientSession() as session,
    ):
        async with session.post(served.url + "/complete", json=ask) as answer:
            assert answer.status == 200
        await served.stop()
        assert len(taken.spans) == 2

        async with gateway(
            tmp_path, upstream.url, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"
        ) as blind:
            for _ in range(20):
                async with session.post(blind.url + "/complete", json=ask) as answer:
                    assert answer.status == 200
            await blind.stop()


async def test_without_a_receiver_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys, gateway.serve as s; assert s.traces_of({}) is None;"
        "assert not {'gateway.monitor.traces', 'opentelemetry.exporter'} & set(sys.modules)"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    assert await child.wait() == 0


def test_a_share_that_is_none_is_refused() -> None:
    from gateway.monitor.traces import start
    from gateway.settings import SettingsError

    with pytest.raises(SettingsError, match="OTEL_TRACES_SAMPLER_ARG"):
        start({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_SAMPLER_ARG": "many"})
