"""OpenAI to OpenAI: the caller's body and the upstream's chunks pass almost untouched.

Inside a JSON string every quote is escaped, so `"usage"` with bare quotes is never a piece of
somebody's text: looking for such bytes is safe, and a chunk is parsed only when they are there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import orjson

from chat.errors import Broken, UpstreamError
from chat.events import Usage
from chat.request import Json
from dialects.framing import Frame
from dialects.openai.errors import carries_error, error_in_band
from dialects.openai.quirks import OpenAiQuirks
from dialects.openai.stream import DONE, as_chunk, read_json, usage_of

_FINISH = re.compile(rb'"finish_reason"\s*:\s*"([^"]+)"')
_MODEL = re.compile(rb'"model"\s*:\s*"(?:[^"\\]|\\.)*"')
_TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")


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
    limits = [sent.pop(field, None) for field in _TOKEN_FIELDS]
    limit = limits[0] if limits[1] is None else limits[1]
    if limit is not None:
        sent[quirks.max_tokens_field] = limit
    if not quirks.reasoning_effort:
        sent.pop("reasoning_effort", None)
    if not quirks.developer_role:
        sent["messages"] = [_with_system(message) for message in body["messages"]]
    return sent


def _with_system(message: Json) -> Json:
    if isinstance(message, dict) and message.get("role") == "developer":
        return {**message, "role": "system"}
    return message


class OpenAiWatch:
    """One relayed stream. `wanted`: the caller asked for usage; `model`: the name he is told."""

    def __init__(self, wanted: bool, model: str) -> None:
        self.usage = Usage()
        self._wanted = wanted
        self._model = model
        self._told = b'"model":' + json.dumps(model).encode()
        self._said: bytes | None = None
        self._finished = False
        self._done = False
        self._failure: UpstreamError | None = None

    def feed(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """A failure waits for the next call when there are frames to pass on before it."""
        if self._failure is not None:
            raise self._failure
        passed: list[Frame] = []
        try:
            for frame in frames:
                if not self._done and frame.data:
                    self._look(frame, passed)
        except UpstreamError as failure:
            if not passed:
                raise
            self._failure = failure
        return passed

    def close(self) -> Sequence[Frame]:
        if self._failure is not None:
            raise self._failure
        if not self._finished:
            raise Broken("The upstream's answer ended before it was finished.", code="cut")
        return () if self._done else (Frame(DONE),)

    def _look(self, frame: Frame, passed: list[Frame]) -> None:
        data = frame.data
        if data[:1] != b"{" or data[-1:] != b"}" or frame.event == b"error":
            self._strange(frame, passed)
            return
        if b'"error"' in data:
            self._check(self._read(data))
        has_choices = b'"choices":[' in data or b'"choices": [' in data
        if has_choices and not self._finished:
            finish = _FINISH.search(data)
            if finish is not None:
                self._finish(finish[1], data)
        if b'"usage"' in data:
            data = self._count(data)
        if has_choices and data:
            passed.append(Frame(self._renamed(data)))

    def _strange(self, frame: Frame, passed: list[Frame]) -> None:
        """No chunk at first sight: the terminator, a whole answer, an error, or noise."""
        word = frame.data.strip()
        if word == DONE:
            self._done = True
            if self._finished:
                passed.append(Frame(DONE))
        elif frame.event != b"error" and word[:1] == b"{" and word[-1:] == b"}":
            self._look(Frame(word), passed)
        elif word and not self._finished:
            body = read_json(frame)
            if frame.event != b"error":
                return
            self._check(body)
            if not isinstance(body, dict) or not body.get("choices"):
                raise error_in_band(body)
            self._whole(as_chunk(body), passed)

    def _whole(self, chunk: dict[str, Json], passed: list[Frame]) -> None:
        """A whole answer where a stream was asked for."""
        self._finished = True
        self.usage = usage_of(chunk)
        chunk["model"] = self._model
        usage = chunk.pop("usage", None)
        passed.append(Frame(_dump(chunk)))
        if self._wanted and usage is not None:
            passed.append(Frame(_dump({**chunk, "choices": [], "usage": usage})))

    def _read(self, data: bytes) -> Json:
        return read_json(Frame(data))

    def _check(self, body: Json) -> None:
        if isinstance(body, dict) and carries_error(body) and not self._finished:
            raise error_in_band(body)

    def _finish(self, word: bytes, data: bytes) -> None:
        if word == b"error":
            choices = self._read(data).get("choices")
            choice = choices[0] if isinstance(choices, list) and choices else None
            said = choice.get("error") if isinstance(choice, dict) else None
            raise error_in_band({"error": said or "The upstream failed."})
        self._finished = True

    def _count(self, data: bytes) -> bytes:
        """Notes the usage; b"" when the chunk holds nothing else and nobody asked."""
        if b'"usage":null' in data:
            return data if self._wanted else data.replace(b',"usage":null', b"", 1)
        chunk = self._read(data)
        if not isinstance(chunk, dict):
            return data
        choices = chunk.get("choices")
        self.usage = self.usage.merged(usage_of(chunk))
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self.usage = self.usage.merged(usage_of(choice))
        if self._wanted or "usage" not in chunk:
            return data
        if not choices:
            return b""
        del chunk["usage"]
        return _dump(chunk)

    def _renamed(self, data: bytes) -> bytes:
        if self._said is None or self._said not in data:
            found = _MODEL.search(data)
            self._said = found[0] if found is not None else None
        if self._said is not None and self._said != self._told:
            data = data.replace(self._said, self._told, 1)
        if not data.isascii():
            data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
            data = data.replace(b"\xc2\x85", b"\\u0085")
        return data.replace(b"\n", b" ") if b"\n" in data else data


def _dump(chunk: Json) -> bytes:
    try:
        return orjson.dumps(chunk)
    except orjson.JSONEncodeError:
        message = "The upstream sent a chunk that is nested too deep."
        raise Broken(message, code="malformed") from None
