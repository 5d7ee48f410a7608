"""Anthropic -> Anthropic: the caller's own body goes out, the upstream's own frames come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from chat.request import Json
from dialects.anthropic.conversation import without_foreign_thoughts
from dialects.anthropic.errors import in_band
from dialects.anthropic.models import fit
from dialects.anthropic.words import usage_of
from dialects.ascii_json import rewritten
from dialects.framing import Frame
from dialects.upstream_errors import cut, malformed
from dialects.watching import FrameWatch

_STOP: Final = Frame(b'{"type":"message_stop"}', b"message_stop")
_PIECE: Final = b'{"type":"content_block_delta",'
"""How Anthropic begins a piece; one that is written otherwise is parsed."""


def relay_body(body: dict[str, Json], model: str, default_max_tokens: int) -> dict[str, Json]:
    """A copy with the upstream's name of the model. Besides it changes only what would be
    refused: no max_tokens, another vendor's thoughts, knobs that this model lacks."""
    sent = {**body, "model": model, "messages": without_foreign_thoughts(body.get("messages"))}
    sent.setdefault("max_tokens", default_max_tokens)
    fit(sent, model, may_grow="max_tokens" not in body)
    return sent


class AnthropicWatch(FrameWatch):
    """Looks at the frames as they pass. Parses those that tell tokens or the end; a piece of an
    answer is only looked at for being whole."""

    def __init__(self, body: Mapping[str, Json], model: str) -> None:
        super().__init__()
        self._body = body
        self._model = model
        self._figures: dict[str, Json] = {}
        self._begun = False
        self._finished = False
        self._done = False

    def _pass(self, frame: Frame, passed: list[Frame]) -> None:
        if self._done:
            return
        data, event = frame
        if (
            event == b"content_block_delta"
            and data.startswith(_PIECE)
            and data.endswith(b'"}}')
            and not data.endswith(b'\\"}}')
        ):
            passed.append(frame)
            return
        kept = self._told(frame)
        if kept is not None:
            passed.append(kept)

    def _end(self) -> Sequence[Frame]:
        if self._done:
            return ()
        if not self._finished:
            raise cut()
        self._done = True
        return (_STOP,)

    def _told(self, frame: Frame) -> Frame | None:
        try:
            said = orjson.loads(frame.data)
        except orjson.JSONDecodeError:
            if frame.data.strip() in (b"", b"[DONE]"):
                return None
            raise malformed("an event that is not JSON") from None
        if not isinstance(said, dict):
            if frame.event == b"error":
                raise in_band(said)
            raise malformed("an event that is no object")
        kind = said.get("type")
        if not isinstance(kind, str):
            kind = frame.event.decode("utf-8", "replace")
        if kind == "error" or said.get("error"):
            raise in_band(said)
        if kind == "ping" and not self._begun:
            # It would commit us to this upstream, which has said nothing yet.
            return None
        self._begun = True
        if kind == "message_start":
            return self._start(said, frame)
        if kind == "message":
            return self._whole(said)
        if kind == "message_delta":
            self._count(said)
            delta = said.get("delta")
            self._finished |= isinstance(delta, dict) and isinstance(delta.get("stop_reason"), str)
        elif kind == "message_stop":
            self._done = True
        return frame if frame.event else Frame(frame.data, kind.encode())

    def _start(self, said: dict[str, Json], frame: Frame) -> Frame:
        """With the caller's name of the model, and tokens that are more than none (Claude Code
        counts with them)."""
        message = said.get("message")
        if not isinstance(message, dict):
            return frame
        self._count(message)
        message["model"] = self._model
        figures = message.get("usage")
        told = figures if isinstance(figures, dict) else {}
        told.setdefault("output_tokens", 1)
        if not self.usage.input_tokens:
            told["input_tokens"] = max(1, len(orjson.dumps(self._body)) // 4)
        message["usage"] = told
        return Frame(rewritten(said), b"message_start")

    def _whole(self, said: dict[str, Json]) -> Frame:
        """A one-shot answer, which comes as one frame."""
        if self._body.get("stream"):
            raise malformed("a whole answer where a stream was asked")
        self._count(said)
        self._finished = self._done = True
        said["model"] = self._model
        return Frame(rewritten(said))

    def _count(self, carrier: Mapping[str, Json]) -> None:
        figures = carrier.get("usage")
        if not isinstance(figures, dict):
            return
        self._figures.update((name, value) for name, value in figures.items() if value is not None)
        self.usage = usage_of(self._figures) or self.usage
