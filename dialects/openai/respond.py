"""Events -> chunks, and a response -> one chat.completion (PROTOCOLS 1.3, 2.2, 2.3).

Emitter rules: LF, `data: ` frames only, ASCII, one id and created, the role in the first chunk
alone, the finish reason in one chunk with an empty delta, usage only for those who asked.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quoted

from chat.errors import GatewayError
from chat.events import (
    UNCOUNTED,
    Batch,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json, ToolCall
from chat.trace import Trace
from dialects.ascii_json import ascii_json
from dialects.openai.errors import render_error


class OpenAiRenderer:
    """One stream. What never changes between two chunks is written once."""

    keepalive = b": keepalive\n"
    """Without a blank line: a comment that ends an event makes some readers see an empty one."""

    def __init__(self, answer_id: str, model: str, created: int, usage: bool) -> None:
        head = (
            f'data: {{"id":{quoted("chatcmpl-" + answer_id)},"object":"chat.completion.chunk",'
            f'"created":{created},"model":{quoted(model)},"choices":['
        )
        tail = ',"usage":null}\n\n' if usage else "}\n\n"
        self._head = head
        self._delta = head + '{"index":0,"delta":{'
        self._text = self._delta + '"content":'
        self._end = '},"finish_reason":null}]' + tail
        self._finish_end = "}]" + tail
        self._wants_usage = usage
        self._usage = UNCOUNTED
        self._begun = False
        self._call_is_empty = False
        self._call = -1

    def feed(self, events: Batch) -> bytes:
        chunks: list[str] = [] if self._begun or not events else [self._role()]
        for event in events:
            if isinstance(event, TextDelta):
                if event.text:
                    chunks.append(self._text + quoted(event.text) + self._end)
            elif isinstance(event, ToolCallDelta):
                chunks.append(self._tool(event))
            elif isinstance(event, ReasoningDelta):
                if event.text:
                    chunks.append(self._field("reasoning_content", event.text))
            elif isinstance(event, Usage):
                self._usage = self._usage.merged(event)
            elif isinstance(event, Finish):
                chunks.append(self._shut_call())
                reason = f'{self._delta}}},"finish_reason":"{event.reason}"{self._finish_end}'
                chunks.append(reason)
            elif isinstance(event, RefusalDelta) and event.text:
                chunks.append(self._field("refusal", event.text))
        return "".join(chunks).encode("ascii")

    def close(self, trace: Trace) -> bytes:
        usage = render_usage(self._usage) if self._wants_usage else None
        last = "data: [DONE]\n\n"
        resumed = ascii_json(trace.resumed_from).decode() if trace.resumed_from else ""
        if usage is not None:
            written = ascii_json(usage).decode()
            more = f',"resumed_from":{resumed}' if resumed else ""
            last = f'{self._head}],"usage":{written}{more}}}\n\n{last}'
        elif resumed:
            # A chunk of no choices is for those alone who asked for usage.
            last = f": resumed_from {resumed}\n{last}"
        return last.encode("ascii")

    def fail(self, error: GatewayError) -> bytes:
        return b"data: " + ascii_json(render_error(error)) + b"\n\n"

    def _role(self) -> str:
        self._begun = True
        return f'{self._delta}"role":"assistant","content":""{self._end}'

    def _field(self, name: str, text: str) -> str:
        return f'{self._delta}"{name}":{quoted(text)}{self._end}'

    def _tool(self, piece: ToolCallDelta) -> str:
        before = ""
        call = f'{{"index":{piece.index},'
        if piece.index != self._call:
            before = self._shut_call()
            self._call = piece.index
            self._call_is_empty = True
            call += (
                f'"id":{quoted(piece.id or "")},"type":"function",'
                f'"function":{{"name":{quoted(piece.name or "")},'
            )
        elif not piece.arguments:
            return ""
        else:
            call += '"function":{'
        if piece.arguments:
            self._call_is_empty = False
        call += f'"arguments":{quoted(piece.arguments)}}}}}'
        return f'{before}{self._delta}"tool_calls":[{call}]{self._end}'

    def _shut_call(self) -> str:
        """Clients parse the arguments as JSON, which nothing at all is not."""
        if not self._call_is_empty:
            return ""
        self._call_is_empty = False
        return self._tool(ToolCallDelta(self._call, arguments="{}"))


def render_usage(usage: Usage) -> Json:
    """OpenAI's usage object; None when nobody counted."""
    if usage.total_tokens is None:
        return None
    told: dict[str, Json] = {
        "prompt_tokens": usage.input_tokens or 0,
        "completion_tokens": usage.output_tokens or 0,
        "total_tokens": usage.total_tokens,
    }
    read = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    read = {name: tokens for name, tokens in read.items() if tokens is not None}
    if read:
        told["prompt_tokens_details"] = read
    if usage.reasoning_tokens is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return told


def render_response(
    request: ChatRequest, response: ChatResponse, trace: Trace, created: int
) -> Json:
    """One chat.completion."""
    calls = [_call(call) for call in response.tool_calls]
    message: dict[str, Json] = {
        "role": "assistant",
        "content": response.text or (None if calls or response.refusal else ""),
        "refusal": response.refusal,
    }
    if response.reasoning:
        message["reasoning_content"] = response.reasoning
    if calls:
        message["tool_calls"] = calls
    answer: dict[str, Json] = {
        "id": f"chatcmpl-{trace.request_id}",
        "object": "chat.completion",
        "created": created,
        "model": trace.model or response.model or request.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": response.finish.reason,
            }
        ],
    }
    usage = render_usage(response.usage)
    if usage is not None:
        answer["usage"] = usage
    return answer


def _call(call: ToolCall) -> Json:
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}
