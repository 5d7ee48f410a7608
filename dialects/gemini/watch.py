"""A stream from Gemini to a caller who speaks Gemini: frames pass, and are looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson

from chat.request import Json
from dialects.ascii_json import rewritten
from dialects.framing import Frame
from dialects.gemini.errors import error_in, error_in_band
from dialects.gemini.usage import usage_of
from dialects.upstream_errors import cut, malformed
from dialects.watching import FrameWatch

_VERSION = re.compile(rb'("modelVersion"\s*:\s*)"(?:[^"\\]|\\.)*"')


class GeminiWatch(FrameWatch):
    """`usage` is what was counted so far; `model` is what the caller is told."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model
        self._told = orjson.dumps(model)
        self._finished = False

    def _end(self) -> Sequence[Frame]:
        if not self._finished:
            raise cut()
        return ()

    def _pass(self, frame: Frame, passed: list[Frame]) -> None:
        """Google's SDKs fail on `event:` lines, on [DONE] and on empty data: none passes."""
        try:
            value = orjson.loads(frame.data)
        except ValueError:
            if frame.data.strip() in (b"", b"[DONE]"):
                return
            raise malformed("a frame that is not JSON") from None
        error = error_in(value)
        if error is not None:
            raise error_in_band(error)
        if isinstance(value, list):
            # What comes where alt=sse was not asked.
            if not all(isinstance(chunk, dict) for chunk in value):
                raise malformed("a frame that is no object")
            for chunk in value:
                self._pass(Frame(rewritten(chunk)), passed)
            return
        if not isinstance(value, dict):
            raise malformed("a frame that is no object")
        if frame.event == b"error" and "candidates" not in value:
            raise error_in_band(value)
        self._count(value)
        passed.append(Frame(self._renamed(frame.data, value)))

    def _count(self, chunk: dict[str, Json]) -> None:
        candidates = chunk.get("candidates")
        if isinstance(candidates, list):
            for candidate in candidates:
                if isinstance(candidate, dict) and candidate.get("finishReason"):
                    self._finished = True
        feedback = chunk.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._finished = True
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict):
            self.usage = self.usage.merged(usage_of(usage))

    def _renamed(self, data: bytes, chunk: dict[str, Json]) -> bytes:
        """The frame's own bytes but for the name of the model, on one line."""
        named = "modelVersion" in chunk and bool(self._model)
        if b"\n" in data or (named and data.count(b'"modelVersion"') > 1):
            if named:
                chunk["modelVersion"] = self._model
            return rewritten(chunk)
        if not named:
            return data
        return _VERSION.sub(lambda found: found[1] + self._told, data)
