"""Bytes of an upstream -> events, whole, one byte at a time, or cut anywhere.

A test of an outbound dialect says what bytes came and what events they mean; where the network
cut them must not matter:

    check_every_cut(AnthropicDialect(), data, [Start(...), TextDelta("hi"), Finish("stop")])

A recording is a folder under tests/recordings/<dialect>/<case>/ with `response.sse` or
`response.ndjson` (bytes), `events.json` (what they mean, as `to_json` writes it, the failure
last) and perhaps `request.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from hypothesis import strategies as st

from chat.errors import UpstreamError
from chat.events import StreamEvent, ToolCallDelta
from chat.request import Json
from dialects.base import OutboundDialect, Parser
from dialects.framing import Frame, Framing

RECORDINGS = Path(__file__).parent.parent / "recordings"
_GENERATED_ID = re.compile(r"call_[0-9a-f]{16,64}")


@dataclass
class Outcome:
    """What a stream meant: its events, and how it failed (None: it did not)."""

    events: list[StreamEvent]
    error: UpstreamError | None = None


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut_at(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The pieces between the cuts, which may be in any order and repeat (an empty piece)."""
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def inside_characters(data: bytes) -> list[int]:
    """Every place that parts a character of more than one byte."""
    return [at for at, byte in enumerate(data) if byte & 0xC0 == 0x80]


def cuttings(data: bytes, most: int = 12) -> st.SearchStrategy[list[bytes]]:
    """Random cuts of `data`, as pieces."""
    places = st.lists(st.integers(0, len(data)), max_size=most)
    return places.map(lambda cuts: cut_at(data, cuts))


def frames_of(framing: Framing, pieces: Iterable[bytes]) -> list[Frame]:
    decoder = framing.decoder()
    frames: list[Frame] = []
    for piece in pieces:
        frames += decoder.feed(piece)
    return frames + decoder.close()


def play(
    dialect: OutboundDialect, pieces: Iterable[bytes], parser: Parser | None = None
) -> Outcome:
    """Feeds the pieces as a provider does, to the end or to the first failure."""
    parser = parser or dialect.parser()
    decoder = dialect.framing.decoder()
    events: list[StreamEvent] = []
    try:
        for piece in pieces:
            for frame in decoder.feed(piece):
                events += parser.feed(frame)
        for frame in decoder.close():
            events += parser.feed(frame)
        events += parser.close()
    except UpstreamError as error:
        return Outcome(events, error)
    return Outcome(events)


def stable(events: Iterable[StreamEvent]) -> list[StreamEvent]:
    """Ids of tool calls that we made up become generated-0, generated-1, ..."""
    names: dict[str, str] = {}
    calm: list[StreamEvent] = []
    for event in events:
        if isinstance(event, ToolCallDelta) and event.id and _GENERATED_ID.fullmatch(event.id):
            name = names.setdefault(event.id, f"generated-{len(names)}")
            event = replace(event, id=name)
        calm.append(event)
    return calm


def to_json(outcome: Outcome) -> list[Json]:
    """One object for each event, absent values left out; then the failure, if any."""
    said: list[Json] = []
    for event in stable(outcome.events):
        fields = {name: value for name, value in asdict(event).items() if value is not None}
        said.append({"event": type(event).__name__, **fields})
    if outcome.error is not None:
        error = outcome.error
        failure = {
            "error": type(error).__name__,
            "message": error.message,
            "code": error.code,
            "retry_after": error.retry_after,
        }
        said.append({name: value for name, value in failure.items() if value is not None})
    return said


def check_every_cut(
    dialect: OutboundDialect, data: bytes, expected: Sequence[StreamEvent] | None = None
) -> Outcome:
    """Whole, byte by byte and parted inside each character: the same outcome, which is given
    back; `expected` are its events, where the caller knows them."""
    outcome = play(dialect, [data])
    told = to_json(outcome)
    assert to_json(play(dialect, bytewise(data))) == told
    for cut in inside_characters(data):
        assert to_json(play(dialect, cut_at(data, [cut]))) == told
    if expected is not None:
        assert stable(outcome.events) == list(expected)
    return outcome


def check_pieces(dialect: OutboundDialect, data: bytes, pieces: Sequence[bytes]) -> None:
    """Cut as `pieces`, the bytes mean what they mean whole."""
    assert b"".join(pieces) == data
    assert to_json(play(dialect, pieces)) == to_json(play(dialect, [data]))


@dataclass(frozen=True)
class Recording:
    """One case under tests/recordings/<dialect>/."""

    case: Path

    @property
    def response(self) -> bytes:
        for name in ("response.sse", "response.ndjson", "response.json"):
            if (self.case / name).exists():
                return (self.case / name).read_bytes()
        raise FileNotFoundError(f"{self.case} has no response")

    @property
    def events(self) -> Json:
        return json.loads((self.case / "events.json").read_text(encoding="utf-8"))

    @property
    def request(self) -> Json:
        return json.loads((self.case / "request.json").read_text(encoding="utf-8"))


def recordings(dialect: str) -> list[Recording]:
    """All cases of a dialect that stream, by name; none at all is a fault of the checkout."""
    cases = sorted(path.parent for path in (RECORDINGS / dialect).glob("*/events.json"))
    if not cases:
        raise FileNotFoundError(f"no recordings under {RECORDINGS / dialect}")
    return [Recording(case) for case in cases]


def check_recording(dialect: OutboundDialect, recording: Recording) -> None:
    assert to_json(check_every_cut(dialect, recording.response)) == recording.events
