"""Callers in each of the five languages, by hand: what they send, and what they read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.doors.upstreams import KINDS
from tests.replay.gateway import Running

DOORS = (*KINDS, "responses")
"""The languages that are spoken at a door; the last one nowhere else."""
HEADERS = {
    "openai": {"Authorization": "Bearer x"},
    "responses": {"Authorization": "Bearer x"},
    "anthropic": {"x-api-key": "x", "anthropic-version": "2023-06-01"},
    "gemini": {"x-goog-api-key": "x"},
    "ollama": {},
}
FINISHES = {
    "openai": {"stop": "stop", "length": "length", "tool_calls": "tool_calls"},
    "anthropic": {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"},
    "gemini": {"STOP": "stop", "MAX_TOKENS": "length"},
    "ollama": {"stop": "stop", "length": "length"},
}


@dataclass
class Read:
    """`finish` in OpenAI's words; a call is (name, arguments)."""

    text: str = ""
    thoughts: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    finish: str | None = None
    usage: tuple[int, int] | None = None


def question(language: str, text: str, *, stream: bool, model: str = "lab/m") -> dict[str, Any]:
    """A body; where the language writes model and stream elsewhere they are left out."""
    if language == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    if language == "responses":
        return {"model": model, "input": text, "stream": stream}
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
    }
    if language == "openai" and stream:
        body["stream_options"] = {"include_usage": True}
    if language == "anthropic":
        body["max_tokens"] = 100
    return body


def path(language: str, *, stream: bool, model: str = "lab/m") -> str:
    if language == "gemini":
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{method}"
    return {
        "openai": "/v1/chat/completions",
        "responses": "/v1/responses",
        "anthropic": "/v1/messages",
        "ollama": "/api/chat",
    }[language]


async def ask(
    gateway: Running, language: str, body: dict[str, Any], *, stream: bool, model: str = "lab/m"
) -> tuple[int, bytes]:
    """Status and bytes."""
    async with gateway.session.post(
        gateway.url + path(language, stream=stream, model=model),
        json=body,
        headers=HEADERS[language],
    ) as response:
        return response.status, await response.read()


def read(language: str, raw: bytes, *, stream: bool) -> Read:
    if not stream:
        return WHOLES[language](orjson.loads(raw))
    if language == "ollama":
        bodies = [orjson.loads(line) for line in raw.split(b"\n") if line]
    else:
        data = [line[6:] for line in raw.replace(b"\r\n", b"\n").split(b"\n") if line[:1] == b"d"]
        bodies = [orjson.loads(item) for item in data if item != b"[DONE]"]
    return STREAMS[language](bodies)


def _openai(body: dict[str, Any]) -> Read:
    [choice] = body["choices"]
    message = choice["message"]
    found = Read(message["content"] or "", message.get("reasoning_content") or "")
    for call in message.get("tool_calls") or ():
        function = call["function"]
        found.calls.append((function["name"], orjson.loads(function["arguments"])))
    found.finish = FINISHES["openai"][choice["finish_reason"]]
    found.usage = (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"])
    return found


def _openai_stream(bodies: list[dict[str, Any]]) -> Read:
    found = Read()
    calls: dict[int, list[str]] = {}
    for body in bodies:
        if body.get("usage"):
            found.usage = (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"])
        for choice in body["choices"]:
            delta = choice["delta"]
            found.text += delta.get("content") or ""
            found.thoughts += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls") or ():
                name, arguments = calls.setdefault(call["index"], ["", ""])
                function = call["function"]
                calls[call["index"]] = [
                    name + (function.get("name") or ""),
                    arguments + (function.get("arguments") or ""),
                ]
            if choice["finish_reason"]:
                assert found.finish is None
                found.finish = FINISHES["openai"][choice["finish_reason"]]
    found.calls = [(name, orjson.loads(text)) for name, text in calls.values()]
    return found


def _anthropic(body: dict[str, Any]) -> Read:
    found = Read()
    for block in body["content"]:
        if block["type"] == "text":
            found.text += block["text"]
        elif block["type"] == "thinking":
            found.thoughts += block["thinking"]
        else:
            found.calls.append((block["name"], block["input"]))
    found.finish = FINISHES["anthropic"][body["stop_reason"]]
    found.usage = (body["usage"]["input_tokens"], body["usage"]["output_tokens"])
    return found


def _anthropic_stream(bodies: list[dict[str, Any]]) -> Read:
    """Folds the events as the vendor's SDK does."""
    bodies = [body for body in bodies if body["type"] != "ping"]
    assert bodies[0]["type"] == "message_start"
    assert bodies[-1] == {"type": "message_stop"}
    message = bodies[0]["message"]
    texts: list[str] = []
    for body in bodies[1:-1]:
        if body["type"] == "content_block_start":
            assert body["index"] == len(message["content"])
            message["content"].append(body["content_block"])
            texts.append("")
        elif body["type"] == "content_block_delta":
            delta = body["delta"]
            kind = delta["type"].removesuffix("_delta")
            if kind != "signature":
                texts[-1] += delta["partial_json" if kind == "input_json" else kind]
        elif body["type"] == "message_delta":
            message |= body["delta"]
            message["usage"] |= body["usage"]
    for block, text in zip(message["content"], texts, strict=True):
        if block["type"] == "tool_use":
            block["input"] = orjson.loads(text or "{}")
        else:
            block[block["type"]] = text
    return _anthropic(message)


def _gemini_stream(bodies: list[dict[str, Any]]) -> Read:
    found = Read()
    for body in bodies:
        for candidate in body.get("candidates", ()):
            for part in candidate.get("content", {}).get("parts", ()):
                if "functionCall" in part:
                    found.calls.append((part["functionCall"]["name"], part["functionCall"]["args"]))
                elif part.get("thought"):
                    found.thoughts += part["text"]
                else:
                    found.text += part["text"]
            if "finishReason" in candidate:
                found.finish = FINISHES["gemini"][candidate["finishReason"]]
        usage = body.get("usageMetadata")
        if usage:
            found.usage = (
                usage["promptTokenCount"],
                usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0),
            )
    if found.calls and found.finish == "stop":
        found.finish = "tool_calls"
    return found


def _ollama_stream(bodies: list[dict[str, Any]]) -> Read:
    found = Read()
    for body in bodies:
        message = body["message"]
        found.text += message["content"]
        found.thoughts += message.get("thinking") or ""
        for call in message.get("tool_calls") or ():
            found.calls.append((call["function"]["name"], call["function"]["arguments"]))
    last = bodies[-1]
    assert last["done"] is True
    found.finish = FINISHES["ollama"][last["done_reason"]]
    if "eval_count" in last:
        found.usage = (last["prompt_eval_count"], last["eval_count"])
    if found.calls and found.finish == "stop":
        found.finish = "tool_calls"
    return found


def _responses(body: dict[str, Any]) -> Read:
    found = Read()
    for item in body["output"]:
        if item["type"] == "message":
            found.text += "".join(part["text"] for part in item["content"])
        elif item["type"] == "reasoning":
            found.thoughts += "".join(part["text"] for part in item["summary"])
        else:
            assert item["type"] == "function_call"
            found.calls.append((item["name"], orjson.loads(item["arguments"])))
    if body["status"] == "completed":
        found.finish = "tool_calls" if found.calls else "stop"
    elif body["status"] == "incomplete":
        assert body["incomplete_details"]["reason"] == "max_output_tokens"
        found.finish = "length"
    # Null where nobody counted.
    if body["usage"] is not None:
        found.usage = (body["usage"]["input_tokens"], body["usage"]["output_tokens"])
    return found


def _responses_stream(bodies: list[dict[str, Any]]) -> Read:
    """What the deltas say; the whole answer in the last event must say the same."""
    assert [body["sequence_number"] for body in bodies] == list(range(len(bodies)))
    found = Read()
    names: dict[int, str] = {}
    pieces: dict[int, str] = {}
    for body in bodies:
        kind = body["type"].removeprefix("response.")
        if kind == "output_text.delta":
            found.text += body["delta"]
        elif kind == "reasoning_summary_text.delta":
            found.thoughts += body["delta"]
        elif kind == "output_item.added" and body["item"]["type"] == "function_call":
            names[body["output_index"]] = body["item"]["name"]
        elif kind == "function_call_arguments.delta":
            at = body["output_index"]
            pieces[at] = pieces.get(at, "") + body["delta"]
    found.calls = [(name, orjson.loads(pieces[at])) for at, name in names.items()]
    whole = _responses(bodies[-1]["response"])
    found.finish, found.usage = whole.finish, whole.usage
    assert found == whole
    return found


WHOLES: dict[str, Callable[[dict[str, Any]], Read]] = {
    "openai": _openai,
    "responses": _responses,
    "anthropic": _anthropic,
    "gemini": lambda body: _gemini_stream([body]),
    "ollama": lambda body: _ollama_stream([body]),
}
STREAMS = {
    "openai": _openai_stream,
    "responses": _responses_stream,
    "anthropic": _anthropic_stream,
    "gemini": _gemini_stream,
    "ollama": _ollama_stream,
}
