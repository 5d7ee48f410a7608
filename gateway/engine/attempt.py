"""One try at one target: what is known of it while it runs, and what is written down of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chat.events import UNCOUNTED, Usage

if TYPE_CHECKING:
    from dialects.base import Renderer
    from gateway.engine.ports import Provider
    from gateway.engine.routing import Target
    from gateway.engine.story import Story


@dataclass(slots=True, eq=False)
class Attempt:
    """Times are monotonic seconds; None where it did not happen. The engine's Progress."""

    target: Target
    began: float
    probe: int = 0
    """The ticket of an attempt that finds out whether a target is well again; else 0."""
    hedge: bool = False
    """Asked beside another attempt that was slow."""
    usage: Usage = field(default_factory=lambda: UNCOUNTED)
    first_at: float | None = None
    ended: float | None = None
    outcome: str = ""
    """finished, cancelled, or the kind of its error; "" while it runs; kept when nobody was asked,
    as the answer had been given before."""
    error: str | None = None
    """What the error said, for a person."""
    seen: int = 0
    """Counts whatever the upstream said; pings and comments say nothing."""
    renderer: Renderer | None = None
    """What writes this attempt's answer to the caller."""
    story: Story | None = None
    """What it told, where somebody may have to go on with it."""
    heard: Provider | None = None
    """The target's provider, where its answer is to be kept."""
    pieces: AsyncGenerator[bytes, None] | None = None
    """What comes after the first bytes of a stream."""
