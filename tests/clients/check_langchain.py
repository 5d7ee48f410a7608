"""LangChain's four chat models at the gateway, with each kind of upstream behind it.

Google's wants its client of one major version ago, so `make test` runs this beside the tests of
those versions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import BaseModel

from tests.doors.lab import PARAMETERS, PIXEL, image_in, lab, results_in, sdk
from tests.doors.upstreams import CALLS, HELLO, KINDS, OBJECT, play, refusal
from tests.replay.gateway import Running

# What these libraries warn of at import is theirs to mend.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    messages = sdk("langchain_core.messages")
    openai = sdk("langchain_openai")
    anthropic = sdk("langchain_anthropic")
    google = sdk("langchain_google_genai")
    ollama = sdk("langchain_ollama")

pytestmark = pytest.mark.filterwarnings("ignore")

CLIENTS: dict[str, Callable[[Running], Any]] = {
    "openai": lambda gateway: openai.ChatOpenAI(
        model="lab/m", base_url=gateway.url + "/v1", api_key="x", max_retries=0, stream_usage=True
    ),
    "openai-responses": lambda gateway: openai.ChatOpenAI(
        model="lab/m",
        base_url=gateway.url + "/v1",
        api_key="x",
        max_retries=0,
        use_responses_api=True,
    ),
    "anthropic": lambda gateway: anthropic.ChatAnthropic(
        model="lab/m", base_url=gateway.url, api_key="x", max_retries=0, max_tokens=100
    ),
    "google": lambda gateway: google.ChatGoogleGenerativeAI(
        model="lab/m", base_url=gateway.url, api_key="x", max_retries=1
    ),
    "ollama": lambda gateway: ollama.ChatOllama(model="lab/m", base_url=gateway.url),
}
TOOL = {"title": "weather", "description": "Tells the weather.", **PARAMETERS}
each_client = pytest.mark.parametrize("client", CLIENTS)
each_kind = pytest.mark.parametrize("kind", KINDS)


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def text_of(message: Any) -> str:
    """Content is text, or parts of it."""
    content = message.content
    if isinstance(content, str):
        return content
    return "".join(part if isinstance(part, str) else part.get("text", "") for part in content)


@each_kind
@each_client
async def test_one_shot(client: str, kind: str) -> None:
    async with lab(kind, play(kind, HELLO, False)) as (gateway, _):
        answer = await CLIENTS[client](gateway).ainvoke("Hi")
    assert text_of(answer) == HELLO.text
    usage = answer.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"]) == HELLO.usage


@each_kind
@each_client
async def test_a_stream(client: str, kind: str) -> None:
    async with lab(kind, play(kind, HELLO, True, chunk=7)) as (gateway, _):
        pieces = [text_of(piece) async for piece in CLIENTS[client](gateway).astream("Hi")]
    assert "".join(pieces) == HELLO.text
    assert len([piece for piece in pieces if piece]) > 1


@each_kind
@each_client
async def test_tools_there_and_back(client: str, kind: str) -> None:
    # ChatOllama always streams, whatever is asked of it.
    streams = client == "ollama"
    plays = (play(kind, CALLS, streams), play(kind, HELLO, streams))
    async with lab(kind, *plays) as (gateway, upstream):
        model = CLIENTS[client](gateway).bind_tools([TOOL])
        first = await model.ainvoke("Hi")
        assert [call["args"] for call in first.tool_calls] == [
            call.arguments for call in CALLS.calls
        ]
        results = [
            messages.ToolMessage(content=words, tool_call_id=call["id"], name=call["name"])
            for call, words in zip(first.tool_calls, ("sunny", "rain"), strict=True)
        ]
        last = await model.ainvoke([messages.HumanMessage("Hi"), first, *results])
        assert text_of(last) == HELLO.text
        assert results_in(kind, upstream.received[1].body) == ["sunny", "rain"]


@each_kind
@each_client
async def test_structured_output(client: str, kind: str) -> None:
    streams = client == "ollama"
    async with lab(kind, play(kind, OBJECT, streams)) as (gateway, _):
        model = CLIENTS[client](gateway).with_structured_output(Person, method="json_schema")
        assert await model.ainvoke("Who?") == Person(name="Ann", age=7)


@each_kind
@each_client
async def test_a_picture(client: str, kind: str) -> None:
    streams = client == "ollama"
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    question = messages.HumanMessage([{"type": "text", "text": "What is it?"}, picture])
    async with lab(kind, play(kind, HELLO, streams)) as (gateway, upstream):
        await CLIENTS[client](gateway).ainvoke([question])
        # Google's writes the other alphabet of base64.
        sent = image_in(kind, upstream.received[0].body)
        assert sent.replace("-", "+").replace("_", "/") == PIXEL


@pytest.mark.parametrize("status", [400, 404, 429, 500])
@each_client
async def test_an_error_is_raised_with_its_words(client: str, status: int) -> None:
    once = {"per_target": 1}
    plays = [refusal("openai", status)] * 3
    async with lab("openai", *plays, attempts=once) as (gateway, upstream):
        with pytest.raises(Exception, match=r"No room\."):
            await CLIENTS[client](gateway).ainvoke("Hi")
        assert len(upstream.received) == 1


@each_kind
@each_client
async def test_a_caller_who_leaves_frees_the_upstream(client: str, kind: str) -> None:
    whole = play(kind, HELLO, True)
    whole.stall = whole.body.index("🙂".encode()) + 20
    async with lab(kind, whole) as (gateway, upstream):
        async with aclosing(CLIENTS[client](gateway).astream("Hi")) as pieces:
            async for piece in pieces:
                if text_of(piece):
                    break
        await upstream.until_left(limit_s=5.0)
