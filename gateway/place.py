"""A worker's place among those of its machine, and what they share: made before the fork."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.accounts.bell import Bells
from gateway.accounts.board import Board
from gateway.cache.shelf import NearShelf
from gateway.jobs.line_board import BoardLines
from gateway.rests.near import RestsBoard


@dataclass(frozen=True, slots=True)
class Place:
    worker: int = 0
    board: Board | None = None
    """Where they count their callers together."""
    shelf: NearShelf | None = None
    """Where they keep items of answers."""
    lines: BoardLines | None = None
    """Where their callers wait."""
    rests: RestsBoard | None = None
    """Where they tell each other who rests."""
    bells: Bells | None = None
    """With these they tell each other that app codes changed."""


ALONE = Place()
"""The only process, which shares with nobody."""
