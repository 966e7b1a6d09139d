"""A database that is away for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def unreachable(database_url: str) -> AsyncIterator[None]:
    """Within, PostgreSQL has hung up and takes no connection to this database."""
    server, _, name = database_url.rpartition("/")
    keeper = await asyncpg.connect(f"{server}/postgres")
    try:
        await keeper.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await keeper.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await keeper.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await keeper.close()
