"""How long an upstream asks us to wait, in seconds, as its headers or its error tell it.

A date counts from the answer's own Date header, so that no clock of ours is asked; without one
it says nothing. What is no finite number of at least 0 says nothing either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from chat.request import Json

MAX_WAIT_S = 60.0
"""The longest wait that a caller is told: some SDKs sleep as long as they are told, without a
limit (PROTOCOLS 3.3)."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """retry-after-ms, else retry-after as seconds or as an HTTP date. Names are lower-case."""
    milliseconds = seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    told = headers.get("retry-after")
    wait = seconds(told)
    return until(_date(told), headers) if wait is None else wait


def retry_info(details: Json) -> float | None:
    """The retryDelay of a google.rpc.RetryInfo among an error's details, which stands in no
    header: "7s", "0.5s" or {"seconds", "nanos"}."""
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str):
            return seconds(delay.removesuffix("s"))
        if isinstance(delay, dict):
            whole, nanos = seconds(delay.get("seconds", 0)), seconds(delay.get("nanos", 0))
            return None if whole is None or nanos is None else whole + nanos / 1e9
    return None


def until(moment: datetime | None, headers: Mapping[str, str]) -> float | None:
    """From the answer's Date to `moment`; 0.0 where that is past."""
    now = _date(headers.get("date"))
    if moment is None or now is None or (moment.tzinfo is None) != (now.tzinfo is None):
        return None
    return max(0.0, (moment - now).total_seconds())


def seconds(value: Json) -> float | None:
    """A number, or the text of one."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
