"""Pieces of tool calls, as hosts send them -> ToolCallDelta, one call after the other.

Hosts number the pieces (`index`), but not all of them well (PROTOCOLS 2.2): Ollama calls every
parallel call 0, some send no index, no id, the name in every piece, the arguments as an object,
or the pieces of two calls in turn. A call is therefore known by index and id together, and a
later call waits until the one before it is whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from chat.events import ToolCallDelta
from chat.request import Json
from dialects.answers import string
from dialects.arguments import as_text
from dialects.call_ids import CallIds
from dialects.upstream_errors import malformed


@dataclass(slots=True)
class _Call:
    key: Json
    """The host's index; None where it gave none."""
    said_id: str = ""
    id: str = ""
    """What the caller is told; "" until the call is begun."""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    told: int = 0
    """How many pieces went out."""

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are one whole object, after which nothing more can come."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(orjson.loads("".join(self.pieces)), dict)
        except orjson.JSONDecodeError:
            return False


class ToolCalls:
    """The calls of one answer."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._front = 0
        self._ids = CallIds()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, piece: Json) -> list[ToolCallDelta]:
        """One element of delta.tool_calls."""
        if not isinstance(piece, dict):
            return []
        function = piece.get("function")
        if not isinstance(function, dict):
            function = {}
        said_id = string(piece.get("id"))
        name = string(function.get("name"))
        arguments = as_text(function.get("arguments"))
        if not (said_id or name or arguments):
            return []
        call = self._call(piece.get("index"), said_id, name, arguments)
        call.said_id = call.said_id or said_id
        call.name = call.name or name
        if arguments:
            call.pieces.append(arguments)
        return self._told()

    def close(self) -> list[ToolCallDelta]:
        """What still waits. Raises Broken for a call without a name: nobody can make it."""
        events: list[ToolCallDelta] = []
        while self._front < len(self._calls):
            call = self._calls[self._front]
            if not call.name:
                raise malformed("a tool call without a name")
            if not call.pieces:
                call.pieces.append("{}")
            events += self._tell(call)
            self._front += 1
        return events

    def _call(self, key: Json, said_id: str, name: str, arguments: str) -> _Call:
        mine = [call for call in self._calls if key is None or call.key == key]
        if said_id:
            for call in mine:
                if call.said_id == said_id:
                    return call
        last = mine[-1] if mine else None
        if last is None or self._begins_anew(last, said_id, name, arguments):
            last = _Call(key)
            self._calls.append(last)
        return last

    @staticmethod
    def _begins_anew(call: _Call, said_id: str, name: str, arguments: str) -> bool:
        """Whether a piece that fits this call is the next one, of a host that does not count."""
        if said_id and call.said_id:
            return True
        if not name or not call.name:
            return bool(said_id) and call.is_whole
        return name != call.name or (arguments.lstrip()[:1] == "{" and call.is_whole)

    def _told(self) -> list[ToolCallDelta]:
        front = self._calls[self._front]
        events = self._tell(front)
        while self._front + 1 < len(self._calls) and front.id and front.is_whole:
            self._front += 1
            front = self._calls[self._front]
            events += self._tell(front)
        return events

    def _tell(self, call: _Call) -> list[ToolCallDelta]:
        if not call.name:
            return []
        if not call.id:
            call.id = self._ids.unique(call.said_id)
            arguments = "".join(call.pieces)
            call.told = len(call.pieces)
            return [ToolCallDelta(self._front, call.id, call.name, arguments)]
        if call.told == len(call.pieces):
            return []
        arguments = "".join(call.pieces[call.told :])
        call.told = len(call.pieces)
        return [ToolCallDelta(self._front, arguments=arguments)]
