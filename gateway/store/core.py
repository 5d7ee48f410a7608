"""SQLAlchemy's asyncio engine without the ORM.

The package that holds the engine imports the ORM for its sessions, which nobody here uses: 8 MB of
each process for good, and a tenth of its start. So the engine's module is imported, and its package
is filled when somebody asks for something else of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import sqlalchemy.ext

PACKAGE = "sqlalchemy.ext.asyncio"


def _put_off() -> None:
    if PACKAGE in sys.modules:
        return
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.loader is not None
    loader = spec.loader
    package = importlib.util.module_from_spec(spec)

    def filled(name: str) -> object:
        """Called for a name that the package does not have yet."""
        if importlib.util.find_spec(f"{PACKAGE}.{name}") is not None:
            return importlib.import_module(f"{PACKAGE}.{name}")
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, name)

    package.__dict__["__getattr__"] = filled
    sys.modules[PACKAGE] = sqlalchemy.ext.__dict__["asyncio"] = package


_put_off()

from sqlalchemy.ext.asyncio.engine import (  # noqa: E402
    AsyncConnection,
    AsyncEngine,
    create_async_engine,
)

__all__ = ["AsyncConnection", "AsyncEngine", "create_async_engine"]
