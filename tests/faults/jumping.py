"""`python -m gateway` whose wall clock is ahead by what the file $AHEAD_FILE says, in seconds.

The system's clock stays as it is for everybody else. monotonic() does not jump, as with a real
step of the clock (clock_gettime(2)).
"""

from __future__ import annotations

import os
import runpy
import time
from pathlib import Path

FILE = Path(os.environ["AHEAD_FILE"])
REAL, REAL_NS = time.time, time.time_ns
REAL_GMTIME, REAL_LOCALTIME = time.gmtime, time.localtime


def ahead() -> float:
    try:
        return float(FILE.read_text() or 0)
    except (OSError, ValueError):
        return 0.0


def main() -> None:
    time.time = lambda: REAL() + ahead()
    time.time_ns = lambda: REAL_NS() + int(ahead() * 1e9)
    time.gmtime = lambda at=None: REAL_GMTIME(time.time() if at is None else at)
    time.localtime = lambda at=None: REAL_LOCALTIME(time.time() if at is None else at)
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
