"""Which result answers which call, when nobody kept the ids.

Ollama's Python client drops the ids of tool calls, LangChain drops the names too, and other
upstreams insist on both (PROTOCOLS 5.2). So calls without an id get one from their place in the
conversation, the same in every turn, and results find theirs by id, else by name, else in order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from chat.request import Json
from dialects import reading


@dataclass(slots=True)
class _Call:
    given: str | None
    id: str
    name: str


class Pairing:
    """One conversation, told in order."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._ids: set[str] = set()
        self._waiting: list[_Call] = []
        self._turn = -1

    def call(self, turn: int, given: str | None, name: str, arguments: str) -> str:
        """A call of the assistant in message number `turn`. Returns its id, unlike all others."""
        if turn != self._turn:
            # Calls of an earlier turn that nobody answered are not answered any more.
            if turn != self._turn + 1:
                self._waiting = []
            self._turn = turn
        chosen = given or ""
        if not chosen or chosen in self._ids:
            place = f"{turn}.{len(self._calls)}.{name}.{arguments}"
            digest = hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()
            chosen = "call_" + digest[:24]
        call = _Call(given or None, chosen, name)
        self._ids.add(chosen)
        self._calls.append(call)
        self._waiting.append(call)
        return chosen

    def answer(self, item: Mapping[str, Json], path: str) -> tuple[str, str]:
        """The id and the name of the call that a tool message answers. Raises BadRequest when
        there is none."""
        given = reading.optional_text(item, "tool_call_id", path)
        name = reading.optional_text(item, "tool_name", path)
        call = self._by_id(given) if given else None
        if call is None:
            call = self._by_order(path, given, name)
        if call in self._waiting:
            self._waiting.remove(call)
        return call.id, call.name

    def _by_id(self, given: str) -> _Call | None:
        """The first call of that id that waits, else the last one that was answered."""
        for call in (*self._waiting, *reversed(self._calls)):
            if given in (call.given, call.id):
                return call
        return None

    def _by_order(self, path: str, given: str | None, name: str | None) -> _Call:
        waiting = self._waiting
        if given:
            # Some clients make up ids for results only; a call with an id of its own is not meant.
            waiting = [call for call in waiting if call.given is None]
            if not waiting:
                reading.bad(path + "tool_call_id", f"{given!r} answers no tool call before it.")
        if not waiting:
            reading.bad(path.rstrip("."), "answers no tool call before it.")
        named = [call for call in waiting if call.name == name] if name else waiting
        if not named:
            reading.bad(path + "tool_name", f"{name!r} answers no tool call before it.")
        return named[0]
