"""Runs the real supervisor over a table of small children, given as JSON: a process to signal."""

import asyncio
import json
import os
import sys
from typing import Any

from deploy.child import Child
from deploy.supervisor import Patience, Printer, Supervisor


def child(row: dict[str, Any]) -> Child:
    """`code` is a Python program."""
    return Child(
        name=row["name"],
        argv=tuple(row.get("argv") or (sys.executable, "-c", row["code"])),
        environment={**os.environ, **row.get("environment", {})},
        health_url=row.get("health_url", ""),
        waits_s=row.get("waits_s", 0.0),
    )


def main() -> int:
    given = json.loads(sys.argv[1])
    children = [child(row) for row in given["children"]]
    say = Printer([*(child.name for child in children), "pointsman"], plain=True)
    patience = Patience(**given.get("patience", {}))
    return asyncio.run(Supervisor(children, say, patience).run())


if __name__ == "__main__":
    sys.exit(main())
