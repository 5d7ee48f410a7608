"""Events -> the typed events of a Responses stream (PROTOCOLS 2.6).

Each has its name twice (`event:` and `type`) and a number that only grows. An item of the
output is opened, fed and closed before the next one begins; the last event repeats the whole
response. There is no [DONE].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii as quoted

from chat.errors import GatewayError
from chat.events import (
    UNCOUNTED,
    Batch,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from chat.request import ChatRequest, Json, ToolCall
from chat.trace import Trace
from dialects.ascii_json import ascii_json
from dialects.openai.errors import render_error
from dialects.openai.responses.respond import (
    call_item,
    failed,
    finished,
    message_item,
    opening,
    reasoning_item,
    text_part,
)


class ResponsesRenderer:
    keepalive = b": keepalive\n"

    def __init__(
        self,
        request: ChatRequest,
        answer_id: str,
        model: str,
        created: int,
        keep: Callable[[Sequence[Json]], None] | None = None,
    ) -> None:
        self._keep = keep
        self._answer_id = answer_id
        self._told = opening(request, answer_id, model, created)
        self._number = 0
        self._begun = False
        self._kind = ""
        """Of the item that is open: text, refusal, reasoning, call, or "" for none."""
        self._pieces: list[str] = []
        self._call = ToolCall("", "", "")
        self._call_index = -1
        self._name = ""
        self._place: dict[str, Json] = {}
        self._delta = ("", "")
        """What a delta of the open item says before and after its number."""
        self._output: list[Json] = self._told["output"]
        self._usage = UNCOUNTED
        self._reason: FinishReason = "stop"

    def feed(self, events: Batch) -> bytes:
        out: list[str] = self._opening() if events else []
        for event in events:
            if isinstance(event, TextDelta):
                if event.text:
                    self._piece("text", event.text, out)
            elif isinstance(event, ToolCallDelta):
                self._tool(event, out)
            elif isinstance(event, ReasoningDelta):
                if event.text:
                    self._piece("reasoning", event.text, out)
            elif isinstance(event, Usage):
                self._usage = self._usage.merged(event)
            elif isinstance(event, Finish):
                self._shut(out)
                self._reason = event.reason
            elif isinstance(event, RefusalDelta) and event.text:
                self._piece("refusal", event.text, out)
        return "".join(out).encode("ascii")

    def close(self, trace: Trace) -> bytes:
        out = self._opening()
        self._shut(out)
        if self._keep is not None:
            self._keep(self._output)
        told = finished(self._told, self._reason, self._usage)
        out.append(self._event(f"response.{told['status']}", {"response": told}))
        return "".join(out).encode("ascii")

    def fail(self, error: GatewayError) -> bytes:
        """Some clients look for the one, some for the other. What was begun stays unfinished."""
        out = self._opening()
        written = render_error(error)["error"]
        said = {"code": written["code"], "message": error.message, "param": error.param}
        out.append(self._event("error", said))
        told = failed(self._told, error)
        out.append(self._event("response.failed", {"response": told}))
        return "".join(out).encode("ascii")

    def _opening(self) -> list[str]:
        if self._begun:
            return []
        self._begun = True
        return [
            self._event(f"response.{name}", {"response": self._told})
            for name in ("created", "in_progress")
        ]

    def _event(self, name: str, fields: dict[str, Json]) -> str:
        body = {"type": name, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {name}\ndata: {ascii_json(body).decode('ascii')}\n\n"

    def _piece(self, kind: str, text: str, out: list[str]) -> None:
        if self._kind != kind:
            self._shut(out)
            self._open(kind, out)
        self._pieces.append(text)
        number, self._number = self._number, self._number + 1
        out.append(f"{self._delta[0]}{number}{self._delta[1]}{quoted(text)}}}\n\n")

    def _tool(self, event: ToolCallDelta, out: list[str]) -> None:
        if self._kind != "call" or event.index != self._call_index:
            self._shut(out)
            self._call = ToolCall(event.id or "", event.name or "", "")
            self._call_index = event.index
            self._open("call", out)
        if event.arguments:
            self._piece("call", event.arguments, out)

    @property
    def _item_id(self) -> str:
        return f"{self._answer_id}_{len(self._output)}"

    def _open(self, kind: str, out: list[str]) -> None:
        self._kind = kind
        self._pieces = []
        place: dict[str, Json] = {"output_index": len(self._output)}
        item = self._item("in_progress")
        out.append(self._event("response.output_item.added", {**place, "item": item}))
        place["item_id"] = item["id"]
        if kind == "call":
            name = "response.function_call_arguments"
        elif kind == "reasoning":
            name, part = "response.reasoning_summary_text", {"type": "summary_text", "text": ""}
            place["summary_index"] = 0
            out.append(
                self._event("response.reasoning_summary_part.added", {**place, "part": part})
            )
        else:
            place["content_index"] = 0
            if kind == "text":
                name, told = "response.output_text", text_part("")
                place["logprobs"] = []
            else:
                name, told = "response.refusal", {"type": "refusal", "refusal": ""}
            seat = {key: value for key, value in place.items() if key != "logprobs"}
            out.append(self._event("response.content_part.added", {**seat, "part": told}))
        self._name, self._place = name, place
        written = ascii_json(place).decode("ascii")[1:-1]
        self._delta = (
            f'event: {name}.delta\ndata: {{"type":"{name}.delta","sequence_number":',
            f',{written},"delta":',
        )

    def _item(self, status: str) -> dict[str, Json]:
        """The open item as it stands."""
        text = "".join(self._pieces)
        if self._kind == "call":
            call = ToolCall(self._call.id, self._call.name, text)
            return call_item(self._item_id, call, status)
        if self._kind == "reasoning":
            return reasoning_item(self._item_id, text)
        content = [self._part(text)] if status == "completed" else []
        return message_item(self._item_id, content, status)

    def _part(self, text: str) -> dict[str, Json]:
        return text_part(text) if self._kind == "text" else {"type": "refusal", "refusal": text}

    def _shut(self, out: list[str]) -> None:
        if not self._kind:
            return
        item, place, text = self._item("completed"), self._place, "".join(self._pieces)
        seat = {key: value for key, value in place.items() if key != "logprobs"}
        if self._kind == "call":
            if not text:
                self._piece("call", "{}", out)
            said = {**place, "name": self._call.name, "arguments": item["arguments"]}
            out.append(self._event(f"{self._name}.done", said))
        elif self._kind == "reasoning":
            out.append(self._event(f"{self._name}.done", {**place, "text": text}))
            part = {"type": "summary_text", "text": text}
            out.append(self._event("response.reasoning_summary_part.done", {**seat, "part": part}))
        else:
            field = "text" if self._kind == "text" else "refusal"
            out.append(self._event(f"{self._name}.done", {**place, field: text}))
            part = self._part(text)
            out.append(self._event("response.content_part.done", {**seat, "part": part}))
        seat = {"output_index": place["output_index"], "item": item}
        out.append(self._event("response.output_item.done", seat))
        self._output.append(item)
        self._kind = ""
