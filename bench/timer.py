"""A timer to the microsecond: uvloop's own are whole milliseconds, and the answers are shorter."""

import asyncio
import ctypes
import os
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """struct itimerspec, see timerfd_create(2); no repetition."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timer:
    """Calls `then` on the loop once for each `set`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, then: Callable[[], None]) -> None:
        self._loop = loop
        self._then = then
        self._fd = _LIBC.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        loop.add_reader(self._fd, self._fire)

    def set(self, seconds: float) -> None:
        """Fire in so many seconds; what is past fires at once."""
        # Zero would disarm it.
        nanoseconds = max(1, int(seconds * 1e9))
        spec = _Spec(0, 0, *divmod(nanoseconds, 1_000_000_000))
        if _LIBC.timerfd_settime(self._fd, 0, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _fire(self) -> None:
        os.read(self._fd, 8)
        self._then()
