"""Asks the classifier service, under a hard deadline, and remembers its verdicts for a while.

`ask` never raises: slow, dead or talking nonsense, it gives an Opinion without a verdict that
says why. A classifier that failed a few times in a row is left alone for a moment, so that a
hanging one does not cost every caller the deadline.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable

import orjson

from chat.request import Json
from gateway.engine.ports import Opinion, Verdict
from gateway.settings import Classifier
from providers import http1

FAILURES_TO_REST = 3
REST_S = 1.0
TIERS = ("local", "strong")
HEADERS = b"Content-Type: application/json\r\n"
IDLE_S = 30.0
"""Longer than any deadline: that one is what counts."""
FAILURES = {"cut": "its answer was cut", "malformed": "its answer makes no sense"}
MAX_TIERS = 16
MAX_ANSWER = 65536
"""Bytes; a verdict has a few hundred."""


class HttpClassifier:
    def __init__(
        self,
        settings: Classifier,
        client: http1.Client,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._where = http1.address(settings.url.rstrip("/") + "/classify")
        self._cache: OrderedDict[str, tuple[float, Verdict]] = OrderedDict()
        self._failures = 0
        self._rests_until = 0.0

    async def ask(self, prompt: str) -> Opinion:
        began = self._clock()
        text = shortened(prompt, self._settings.max_chars)
        kept = self._cache.get(text)
        if kept is not None and kept[0] > began:
            self._cache.move_to_end(text)
            return Opinion(kept[1], 0.0, cached=True)
        if began < self._rests_until:
            return Opinion(None, 0.0, "it failed just now and is left alone for a moment")
        verdict: Verdict | None = None
        failure: str | None = None
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1000):
                verdict, failure = await self._asked(text)
        except TimeoutError:
            failure = f"no answer in {self._settings.timeout_ms:.0f} ms"
        except http1.Fault as fault:
            failure = FAILURES.get(fault.kind, "it cannot be reached")
        ended = self._clock()
        if verdict is not None:
            self._failures = 0
            self._keep(text, verdict, ended)
        else:
            self._failures += 1
            if self._failures >= FAILURES_TO_REST:
                self._rests_until = ended + REST_S
        return Opinion(verdict, (ended - began) * 1000, failure)

    async def _asked(self, text: str) -> tuple[Verdict | None, str | None]:
        body = orjson.dumps({"message": text})
        try:
            answer = await self._client.ask("POST", self._where, HEADERS, body, idle_s=IDLE_S)
        except http1.Fault as fault:
            if fault.kind != "disconnected":
                raise
            # The kept connection was closed under the question, by a worker that was replaced. To
            # ask twice does no harm, and his caller would go to the dearer tier for nothing.
            answer = await self._client.ask(
                "POST", self._where, HEADERS, body, idle_s=IDLE_S, anew=True
            )
        try:
            told = await answer.read()
            while not answer.ended and len(told) < MAX_ANSWER:
                told += await answer.read()
        finally:
            answer.let_go()
        if answer.status != 200:
            return None, f"it answered HTTP {answer.status}"
        try:
            return _verdict(orjson.loads(told)), None
        except (orjson.JSONDecodeError, ValueError, KeyError, TypeError):
            return None, "its answer makes no sense"

    def _keep(self, text: str, verdict: Verdict, now: float) -> None:
        if self._settings.cache_size == 0:
            return
        self._cache[text] = (now + self._settings.cache_s, verdict)
        self._cache.move_to_end(text)
        if len(self._cache) > self._settings.cache_size:
            self._cache.popitem(last=False)


def shortened(prompt: str, limit: int) -> str:
    """Head and tail: the task stands at one end of a long prompt, the material between."""
    if len(prompt) <= limit:
        return prompt
    half = limit // 2
    return prompt[:half] + "\n" + prompt[-half:]


def _verdict(answer: Json) -> Verdict:
    """Raises ValueError, KeyError or TypeError on nonsense."""
    tier = answer["tier"]
    if tier not in TIERS:
        raise ValueError(tier)
    return Verdict(
        tier=tier,
        score=_share(answer["score"]),
        percentile=_share_or_none(answer.get("percentile")),
        domain=_short(answer.get("domain")),
        version=_short(answer.get("version")),
        length=_length(answer.get("length")),
        sure=_share_or_none(answer.get("sure")),
        ood=answer.get("ood") is True,
        tiers=_tiers(answer.get("tiers")),
    )


def _share_or_none(value: Json) -> float | None:
    return None if value is None else _share(value)


def _length(value: Json) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
        raise ValueError(value)
    return float(value)


def _tiers(value: Json) -> dict[str, float] | None:
    """None where it does not say; names that no route has are of no use, and do no harm."""
    if value is None:
        return None
    if not isinstance(value, dict) or len(value) > MAX_TIERS:
        raise ValueError(value)
    return {name: _share(chance) for name, chance in value.items()}


def _share(value: Json) -> float:
    number = float(value)
    if isinstance(value, bool | str) or not math.isfinite(number) or not 0 <= number <= 1:
        raise ValueError(value)
    return number


def _short(value: Json) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > 100:
        raise ValueError(value)
    return value
