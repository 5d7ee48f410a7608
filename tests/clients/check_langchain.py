"""LangChain's four chat models at the gateway, with each kind of upstream behind it.

`make test` runs this twice, newest and before, each in a folder of its own: Google's newest wants
another client of Google than our own tests.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from pydantic import BaseModel

from tests.doors.lab import PARAMETERS, PIXEL, image_in, lab, results_in, sdk
from tests.doors.upstreams import (
    CALLS,
    HELLO,
    KINDS,
    OBJECT,
    Call,
    Said,
    play,
    provider,
    refusal,
    stalled,
)
from tests.replay.gateway import Running, running, settings
from tests.replay.server import ReplayServer

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
MODELS: dict[str, Callable[[Any], Any]] = {
    "openai": lambda model: model.root_async_client.models.list(),
    "openai-responses": lambda model: model.root_async_client.models.list(),
    "anthropic": lambda model: model._async_client.models.list(),
    "google": lambda model: model.client.aio.models.list(),
    "ollama": lambda model: model._async_client.list(),
}
"""LangChain lists no models itself: the vendor's client inside, as LangChain made it, does."""
RAISED: dict[str, type[Exception]] = {
    "openai": sdk("openai").APIStatusError,
    "openai-responses": sdk("openai").APIStatusError,
    "anthropic": sdk("anthropic").APIStatusError,
    "google": sdk("google.genai.errors").APIError,
    "ollama": sdk("ollama").ResponseError,
}
WRAPPED: dict[str, type[Exception]] = {"google": google.chat_models.ChatGoogleGenerativeAIError}
"""LangChain's own, around the vendor's, but for a failure of the server."""
FORCES_A_TOOL = {"anthropic"} if version("langchain-anthropic") < "1" else set()
"""Who gets an object by a tool that must be called, for want of another way."""
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
    method, said = "json_schema", OBJECT
    if client in FORCES_A_TOOL:
        call = Call("call_1", "Person", {"name": "Ann", "age": 7})
        method, said = "function_calling", Said(pieces=(), calls=(call,), finish="tool_calls")
    async with lab(kind, play(kind, said, streams)) as (gateway, _):
        model = CLIENTS[client](gateway).with_structured_output(Person, method=method)
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
async def test_an_error_has_the_vendors_class_its_status_and_words(
    client: str, status: int
) -> None:
    once = {"per_target": 1}
    plays = [refusal("openai", status)] * 3
    async with lab("openai", *plays, attempts=once) as (gateway, upstream):
        classes = (RAISED[client], WRAPPED.get(client, RAISED[client]))
        with pytest.raises(classes, match=r"No room\.") as caught:
            await CLIENTS[client](gateway).ainvoke("Hi")
        assert len(upstream.received) == 1
    found = caught.value if isinstance(caught.value, RAISED[client]) else caught.value.__cause__
    assert isinstance(found, RAISED[client])
    told = getattr(found, "status_code", None) or getattr(found, "code", None)
    assert told == (502 if status == 500 else status)


@each_kind
@each_client
async def test_a_caller_who_leaves_frees_the_upstream(client: str, kind: str) -> None:
    whole = stalled(kind)
    begun = asyncio.Event()

    async def hears(gateway: Running) -> None:
        async for piece in CLIENTS[client](gateway).astream("Hi"):
            if text_of(piece):
                begun.set()

    async with lab(kind, whole) as (gateway, upstream):
        async with asyncio.timeout(20.0), asyncio.TaskGroup() as tasks:
            caller = tasks.create_task(hears(gateway))
            await begun.wait()
            # Python 3.11's wait_for, by which one of them reads, loses a cancel that comes
            # together with a piece.
            while not caller.done():
                caller.cancel()
                await asyncio.wait([caller], timeout=0.2)
        await upstream.until_left(limit_s=5.0)


@each_client
async def test_models_are_listed_by_the_client_inside(client: str) -> None:
    async with ReplayServer() as upstream:
        tree = provider("openai", upstream.url, models=["a/b", "c:7b"])
        given = settings(providers={"lab": tree}, aliases={"fast": "lab/c:7b"})
        async with running(given) as gateway:
            model = CLIENTS[client](gateway)
            found = MODELS[client](model)
            page = found if client.startswith("openai") else await found
            if client == "ollama":
                names = [one.model for one in page.models]
            else:
                names = [getattr(one, "id", None) or one.name async for one in page]
    assert [name.removeprefix("models/").removesuffix(":latest") for name in names] == [
        "auto",
        "fast",
        "lab/a/b",
        "lab/c:7b",
    ]


async def test_ollamas_looks_for_its_model_as_it_is_made() -> None:
    async with lab("openai", play("openai", HELLO, True)) as (gateway, _):

        def made(name: str) -> Any:
            return ollama.ChatOllama(model=name, base_url=gateway.url, validate_model_on_init=True)

        assert (await asyncio.to_thread(made, "lab/m")).model == "lab/m"
        with pytest.raises(ValueError, match="not found"):
            await asyncio.to_thread(made, "lab/none")
