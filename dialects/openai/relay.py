"""OpenAI to OpenAI: the caller's body and the upstream's chunks pass almost untouched.

A chunk is parsed to be looked at, which costs less than searching its bytes for the four words
that matter, and passes as the bytes that came. What is changed is changed in the bytes: inside a
JSON string every quote is escaped, so `"usage"` with bare quotes is never a piece of somebody's
text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import orjson

from chat.request import Json
from dialects.ascii_json import ascii_json, one_line, rewritten
from dialects.framing import Frame
from dialects.openai.errors import carries_error, error_in_band
from dialects.openai.quirks import OpenAiQuirks
from dialects.openai.stream import DONE, as_chunk, read_json, usage_of
from dialects.upstream_errors import cut
from dialects.watching import FrameWatch

_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')


def relay_body(body: Mapping[str, Json], model: str, quirks: OpenAiQuirks) -> dict[str, Json]:
    """The caller's body, changed only where the host would not understand it."""
    sent = {**body, "model": model}
    if body.get("stream") and quirks.send_stream_options:
        options = body.get("stream_options")
        sent["stream_options"] = {
            **(options if isinstance(options, dict) else {}),
            "include_usage": True,
        }
    elif "stream_options" in sent:
        del sent["stream_options"]
    if "max_tokens" in sent or "max_completion_tokens" in sent:
        older, limit = sent.pop("max_tokens", None), sent.pop("max_completion_tokens", None)
        if limit is None:
            limit = older
        if limit is not None:
            sent[quirks.max_tokens_field] = limit
    if not quirks.reasoning_effort:
        sent.pop("reasoning_effort", None)
    if not quirks.developer_role:
        for place, message in enumerate(body["messages"]):
            if isinstance(message, dict) and message.get("role") == "developer":
                # Most callers have none, and then their own list passes.
                if sent["messages"] is body["messages"]:
                    sent["messages"] = [*body["messages"]]
                sent["messages"][place] = {**message, "role": "system"}
    return sent


class OpenAiWatch(FrameWatch):
    """One relayed stream. `wanted`: the caller asked for usage; `model`: the name he is told."""

    def __init__(self, wanted: bool, model: str) -> None:
        super().__init__()
        self._wanted = wanted
        self._model = model
        self._told = b'"model":' + ascii_json(model)
        self._said = b""
        self._finished = False
        self._done = False

    def _end(self) -> Sequence[Frame]:
        if not self._finished:
            raise cut()
        return () if self._done else (Frame(DONE),)

    def _pass(self, frame: Frame, passed: list[Frame]) -> None:
        data, event = frame
        if not data or self._done:
            return
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            word = data.strip()
            if word == DONE:
                self._done = True
                if self._finished:
                    passed.append(Frame(DONE))
                return
            if not word or self._finished:
                return
            chunk = read_json(frame)
        if event == b"error" or not isinstance(chunk, dict) or "choices" not in chunk:
            chunk = self._perhaps_error(chunk, event, passed)
            if chunk is None:
                return
        elif "error" in chunk and carries_error(chunk) and not self._finished:
            raise error_in_band(chunk)
        choices = chunk.get("choices")
        if chunk.get("usage") is not None or "x_groq" in chunk:
            self.usage = self.usage.merged(usage_of(chunk))
            if not self._wanted and "usage" in chunk:
                if not choices:
                    return
                del chunk["usage"]
                data = rewritten(chunk)
        elif not self._wanted and "usage" in chunk:
            data = data.replace(b',"usage":null', b"", 1)
        if not isinstance(choices, list):
            return
        if choices:
            choice = choices[0]
            # Most say neither: each call counts for each chunk.
            if isinstance(choice, dict) and (choice.get("finish_reason") or "usage" in choice):
                self._choice(choice)
        if chunk.get("model") != self._model:
            data = self._renamed(data)
        if not data.isascii() or b"\n" in data:
            data = one_line(data)
        passed.append(frame if data is frame.data and not event else Frame(data))

    def _perhaps_error(
        self, chunk: Json, event: bytes, passed: list[Frame]
    ) -> dict[str, Json] | None:
        """The chunk, when it is one; None when there is nothing more to do with it."""
        named = event == b"error"
        if not isinstance(chunk, dict):
            if named and not self._finished:
                raise error_in_band(chunk)
            return None
        if carries_error(chunk) or (named and not chunk.get("choices")):
            if not self._finished:
                raise error_in_band(chunk)
            return None
        if not named:
            return chunk
        if not self._finished:
            self._whole(as_chunk(chunk), passed)
        return None

    def _whole(self, chunk: dict[str, Json], passed: list[Frame]) -> None:
        """A whole answer where a stream was asked for."""
        self._finished = True
        self.usage = usage_of(chunk)
        chunk["model"] = self._model
        usage = chunk.pop("usage", None)
        passed.append(Frame(rewritten(chunk)))
        if self._wanted and usage is not None:
            passed.append(Frame(rewritten({**chunk, "choices": [], "usage": usage})))

    def _choice(self, choice: dict[str, Json]) -> None:
        reason = choice.get("finish_reason")
        if reason == "error" and not self._finished:
            raise error_in_band({"error": choice.get("error") or "The upstream failed."})
        if reason and isinstance(reason, str):
            self._finished = True
        if "usage" in choice:
            self.usage = self.usage.merged(usage_of(choice))

    def _renamed(self, data: bytes) -> bytes:
        renamed = data.replace(self._said, self._told, 1) if self._said else data
        if renamed == data:
            found = _MODEL.search(data)
            if found is not None:
                self._said = found[0]
                renamed = data.replace(self._said, self._told, 1)
        return renamed
