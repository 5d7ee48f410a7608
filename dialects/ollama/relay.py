"""Ollama to Ollama: the upstream's own lines pass, looked at and hardly touched."""

from __future__ import annotations

from collections.abc import Sequence

from chat.request import Json
from dialects.ascii_json import ascii_json, one_line, rewritten
from dialects.framing import Frame
from dialects.ollama import sizing
from dialects.ollama.errors import in_band
from dialects.ollama.stream import loaded, usage_of
from dialects.upstream_errors import cut
from dialects.watching import FrameWatch


def relay_body(body: dict[str, Json], model: str, sizes: Sequence[int]) -> dict[str, Json]:
    """The caller's body for `model`. A `num_ctx` that he left out is filled in, as the server's
    own default cuts long prompts in silence."""
    options = body.get("options")
    options = dict(options) if isinstance(options, dict) else {}
    if options.get("num_ctx") is None:
        messages = body.get("messages")
        answer = options.get("num_predict")
        if not isinstance(answer, int | float) or answer <= 0:
            answer = sizing.DEFAULT_ANSWER
        tokens = sizing.prompt_tokens(
            messages if isinstance(messages, list) else (), body.get("tools")
        )
        options["num_ctx"] = sizing.context_for(tokens + int(answer), sizes)
    return {**body, "model": model, "options": options}


class OllamaWatch(FrameWatch):
    """Parses the first line and the last; a line between them is looked at only.

    Go writes `{"model":"...",` first in every line, so the caller's name for the model is put
    there without parsing.
    """

    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model
        self._theirs = b""
        self._ours = b'{"model":' + ascii_json(model)
        self._done = False

    def _pass(self, frame: Frame, passed: list[Frame]) -> None:
        if self._done:
            return
        data = frame.data
        # What ends so closes the line itself: a "done" of some argument would not be last.
        if (
            data.endswith(b'"done":false}')
            and self._theirs
            and data.startswith(self._theirs)
            and b'"error"' not in data
        ):
            data = self._ours + data[len(self._theirs) :]
        else:
            data = self._parsed(data)
        passed.append(Frame(data if data.isascii() else one_line(data)))

    def _end(self) -> Sequence[Frame]:
        if not self._done:
            raise cut()
        return ()

    def _parsed(self, data: bytes) -> bytes:
        line = loaded(data)
        if line.get("error"):
            raise in_band(line)
        if line.get("done") is True:
            self._done = True
            self.usage = usage_of(line) or self.usage
        head = b'{"model":' + rewritten(line.get("model"))
        if data.startswith(head) and b"\n" not in data and "message" in line:
            self._theirs = head
            return self._ours + data[len(head) :]
        line["model"] = self._model
        line.setdefault("message", {"role": "assistant", "content": ""})
        return rewritten(line)
