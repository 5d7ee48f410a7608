"""Events -> Anthropic's stream, and a whole answer -> its message (PROTOCOLS 1.3 and 3.2).

Clients are strict: every frame has its `event:`, blocks are numbered 0, 1, ... and open one at a
time, all text is in deltas, usage is in the first frame and in the last but one, and
message_stop ends it.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quoted
from typing import Final, Literal
from uuid import uuid4

from chat.errors import Broken, GatewayError
from chat.events import (
    UNCOUNTED,
    Batch,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.fold import ChatResponse
from chat.request import ChatRequest, Json, Reasoning, Text, ToolCall
from chat.trace import Trace
from dialects import arguments
from dialects.anthropic.errors import render_error
from dialects.anthropic.words import (
    NAME,
    stop_reason_of,
    tokens_of_request,
    wire_usage,
)
from dialects.ascii_json import ascii_json

Kind = Literal["", "text", "thinking", "tool"]

_BLOCKS: Final = {
    "text": '{"type":"text","text":""}',
    "thinking": '{"type":"thinking","thinking":"","signature":""}',
}
_PIECES: Final = {
    "text": '"text_delta","text":',
    "thinking": '"thinking_delta","thinking":',
    "tool": '"input_json_delta","partial_json":',
}
_END: Final = "}}\n\n"
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class AnthropicRenderer:
    """Writes one stream. A block's frames share their beginning, which is built once."""

    keepalive: bytes = b'event: ping\ndata: {"type": "ping"}\n\n'

    def __init__(self, request: ChatRequest, answer_id: str, model: str) -> None:
        self._request = request
        self._id = f"msg_{answer_id}"
        self._model = model
        self._shows_thoughts = request.include_thoughts is not False
        self._begun = False
        self._kind: Kind = ""
        self._index = -1
        self._piece = ""
        self._call = -1
        self._usage = UNCOUNTED
        self._characters = 0
        self._refused = False
        self._finish: Finish | None = None

    def feed(self, events: Batch) -> bytes:
        frames: list[str] = []
        for event in events:
            if isinstance(event, TextDelta):
                if event.text:
                    self._say("text", event.text, frames)
            elif isinstance(event, Usage):
                self._usage = self._usage.merged(event)
            elif not isinstance(event, Start):
                self._other(event, frames)
        # Not at the Start itself: the tokens that come with it are better than an estimate.
        if not self._begun and events:
            self._begin(frames)
        return "".join(frames).encode("ascii")

    def close(self, trace: Trace) -> bytes:
        if self._finish is None:
            return self.fail(Broken("The answer ended before it was finished.", code="cut"))
        frames: list[str] = []
        if not self._begun:
            self._begin(frames)
        reason = stop_reason_of(self._finish, refused=self._refused)
        sequence = self._finish.stop_sequence if reason == "stop_sequence" else None
        last: dict[str, Json] = {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence},
            "usage": wire_usage(
                self._usage, input_guess=None, output_guess=_guess(self._characters)
            ),
        }
        if trace.resumed_from:
            last["resumed_from"] = trace.resumed_from
        return "".join(frames).encode("ascii") + _frame("message_delta", last) + _STOP

    def fail(self, error: GatewayError) -> bytes:
        return _frame("error", render_error(error))

    def _begin(self, frames: list[str]) -> None:
        """Its input tokens are more than none, since clients count with them."""
        self._begun = True
        usage = wire_usage(self._usage, input_guess=None, output_guess=1)
        if self._usage.input_tokens:
            usage["input_tokens"] = max(1, usage["input_tokens"])
        else:
            usage["input_tokens"] = tokens_of_request(self._request)
        message: dict[str, Json] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        start = _frame("message_start", {"type": "message_start", "message": message})
        frames.append(start.decode("ascii"))

    def _other(self, event: StreamEvent, frames: list[str]) -> None:
        if isinstance(event, ToolCallDelta):
            self._call_tool(event, frames)
        elif isinstance(event, ReasoningDelta):
            self._think(event, frames)
        elif isinstance(event, RefusalDelta):
            self._refused = True
            if event.text:
                self._say("text", event.text, frames)
        elif isinstance(event, Finish):
            self._shut(frames)
            self._finish = event

    def _say(self, kind: Kind, text: str, frames: list[str]) -> None:
        if self._kind != kind:
            self._open(kind, _BLOCKS[kind], frames)
        self._characters += len(text)
        frames.append(self._piece + quoted(text) + _END)

    def _think(self, event: ReasoningDelta, frames: list[str]) -> None:
        if event.text and self._shows_thoughts:
            self._say("thinking", event.text, frames)
        if event.signature is None and event.redacted is None:
            return
        if event.vendor == NAME:
            self._bound(event, frames)
        elif self._kind == "thinking":
            # It ends the block, but what it says only its own vendor can read.
            self._shut(frames)

    def _bound(self, event: ReasoningDelta, frames: list[str]) -> None:
        """What Anthropic alone can read: a signature, or a whole block."""
        if event.redacted is not None:
            block = f'{{"type":"redacted_thinking","data":{quoted(event.redacted)}}}'
            self._open("thinking", block, frames)
            self._shut(frames)
        elif event.signature is not None:
            if self._kind != "thinking":
                self._open("thinking", _BLOCKS["thinking"], frames)
            frames.append(
                f'event: content_block_delta\ndata: {{"type":"content_block_delta",'
                f'"index":{self._index},"delta":{{"type":"signature_delta",'
                f'"signature":{quoted(event.signature)}{_END}'
            )
            self._shut(frames)

    def _call_tool(self, event: ToolCallDelta, frames: list[str]) -> None:
        if self._kind != "tool" or event.index != self._call:
            self._call = event.index
            identity = event.id or f"toolu_{uuid4().hex}"
            block = (
                f'{{"type":"tool_use","id":{quoted(identity)},'
                f'"name":{quoted(event.name or "")},"input":{{}}}}'
            )
            self._open("tool", block, frames)
        if event.arguments:
            self._characters += len(event.arguments)
            frames.append(self._piece + quoted(event.arguments) + _END)

    def _open(self, kind: Kind, block: str, frames: list[str]) -> None:
        if not self._begun:
            self._begin(frames)
        self._shut(frames)
        self._kind = kind
        self._index += 1
        frames.append(
            f'event: content_block_start\ndata: {{"type":"content_block_start",'
            f'"index":{self._index},"content_block":{block}}}\n\n'
        )
        self._piece = (
            f'event: content_block_delta\ndata: {{"type":"content_block_delta",'
            f'"index":{self._index},"delta":{{"type":{_PIECES[kind]}'
        )

    def _shut(self, frames: list[str]) -> None:
        if not self._kind:
            return
        self._kind = ""
        frames.append(
            f'event: content_block_stop\ndata: {{"type":"content_block_stop",'
            f'"index":{self._index}}}\n\n'
        )


def render_response(request: ChatRequest, response: ChatResponse, trace: Trace) -> Json:
    """One message."""
    shows_thoughts = request.include_thoughts is not False
    content = [
        _block(part, shows_thoughts)
        for part in response.parts
        if not isinstance(part, Reasoning) or part.vendor == NAME or (shows_thoughts and part.text)
    ]
    if response.refusal:
        content.append({"type": "text", "text": response.refusal})
    reason = stop_reason_of(response.finish, refused=bool(response.refusal))
    written = len(response.text) + len(response.reasoning) + len(response.refusal or "")
    written += sum(len(call.arguments) for call in response.tool_calls)
    return {
        "id": f"msg_{trace.request_id}",
        "type": "message",
        "role": "assistant",
        "model": trace.model or response.model or request.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": response.finish.stop_sequence if reason == "stop_sequence" else None,
        "usage": wire_usage(
            response.usage,
            input_guess=tokens_of_request(request),
            output_guess=_guess(written),
        ),
    }


def _block(part: Text | Reasoning | ToolCall, shows_thoughts: bool) -> Json:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, ToolCall):
        block = {"type": "tool_use", "id": part.id, "name": part.name}
        return {**block, "input": arguments.as_object(part.arguments)}
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    words = part.text if shows_thoughts else ""
    signature = part.signature if part.vendor == NAME else None
    return {"type": "thinking", "thinking": words, "signature": signature or ""}


def _guess(characters: int) -> int:
    """Tokens of what was written, where the upstream did not count them."""
    return (characters + 3) // 4


def _frame(name: str, data: Json) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + ascii_json(data) + b"\n\n"
