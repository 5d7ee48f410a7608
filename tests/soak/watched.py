"""`python -m gateway`, which on SIGUSR1 writes how many tasks it has into the file $TASKS_FILE."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
from pathlib import Path


def told(*_: object) -> None:
    Path(os.environ["TASKS_FILE"]).write_text(f"{len(asyncio.all_tasks())}\n")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, told)
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)
