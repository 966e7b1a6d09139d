"""One worker a database, wherever it runs: two would do the same job twice, and one that is gone must leave no trace.

SQLite: a lock on a file, which the system lets go of when the process ends. PostgreSQL: an advisory lock, which the
server lets go of when the connection ends.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_TRY = text("SELECT pg_try_advisory_lock(hashtext('signet worker'))")
_HELD = text("SELECT 1")


class WorkerLock:
    """Held from `acquire` until the process ends, or `release`."""

    def __init__(self, engine: AsyncEngine, url: str) -> None:
        self._engine = engine
        parsed = make_url(url)
        self._path = Path(f"{parsed.database}.worker") if parsed.get_backend_name() == "sqlite" else None
        self._descriptor: int | None = None
        self._connection: AsyncConnection | None = None

    async def acquire(self) -> bool:
        """Whether it is ours now; another worker may have it."""
        return self._lock_file(self._path) if self._path is not None else await self._lock_server()

    async def check(self) -> None:
        """Raises what the connection raises when it is gone, and the lock with it."""
        if self._connection is not None:
            await self._connection.execute(_HELD)

    async def release(self) -> None:
        """Let the next worker in."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        if self._connection is not None:
            await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()

    def _lock_file(self, path: Path) -> bool:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    async def _lock_server(self) -> bool:
        connection = await self._engine.connect()
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        if not await connection.scalar(_TRY):
            await connection.close()
            return False
        self._connection = connection
        return True
