"""Ids of tool calls that came without one, or with one that is taken."""

from __future__ import annotations

import secrets

from chat.request import Json


class CallIds:
    """The ids of one answer: no two are the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def unique(self, told: Json) -> str:
        """What the upstream told, where it can be an id and is not taken; else one of ours."""
        chosen = told if isinstance(told, str) and told and told not in self._taken else new_id()
        self._taken.add(chosen)
        return chosen


def new_id() -> str:
    return "call_" + secrets.token_hex(12)
