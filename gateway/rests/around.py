"""What two ways of sharing rests have in common: a CooldownTable that tells and is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable

from chat.errors import UpstreamError
from gateway.engine.cooldown import Change, CooldownTable
from gateway.engine.ports import Rest
from gateway.settings import Cooldown


class RestsAround(ABC):
    """The engine's Rests; `enter` asks the others, too."""

    def __init__(self, table: CooldownTable) -> None:
        self._table = table
        self._claims: dict[str, int] = {}
        """Probes of ours that the others know of: target -> ticket."""
        table.changed = self._tell

    @abstractmethod
    def enter(self, target: str, *, early: bool = False) -> int | Awaitable[int | None] | None: ...

    @abstractmethod
    def _tell(self, change: Change) -> None:
        """The others are told of a breaker of ours."""

    @abstractmethod
    def _let_go(self, target: str) -> None:
        """The others are told that a probe of ours is over."""

    def start(self) -> None:  # noqa: B027 -- most have nothing to begin
        """In the loop in which it is asked."""

    async def close(self) -> None:  # noqa: B027
        """Nobody is told any more."""

    @property
    def settings(self) -> Cooldown:
        return self._table.settings

    @settings.setter
    def settings(self, settings: Cooldown) -> None:
        self._table.settings = settings

    def calm(self) -> bool:
        return self._table.calm()

    def resting(self, target: str) -> Rest | None:
        return self._table.resting(target)

    def answered(self, target: str, probe: int) -> None:
        self._table.answered(target, probe)
        self._released(target, probe)

    def failed(self, target: str, error: UpstreamError, probe: int = 0) -> None:
        self._table.failed(target, error, probe)
        self._released(target, probe)

    def succeeded(self, target: str) -> None:
        self._table.succeeded(target)

    def left(self, target: str, probe: int) -> None:
        self._table.left(target, probe)
        self._released(target, probe)

    def _released(self, target: str, probe: int) -> None:
        if probe and self._claims.get(target) == probe:
            del self._claims[target]
            self._let_go(target)
