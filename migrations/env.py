"""Alembic's environment. The URL comes from `service.migrating`, or from SIGNET_DATABASE_URL for `alembic` by hand."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from service.admin_keys import tables as _admin_keys  # noqa: F401 - importing a feature's tables registers them
from service.audit import tables as _audit  # noqa: F401
from service.catalogue import tables as _catalogue  # noqa: F401
from service.customers import tables as _customers  # noqa: F401
from service.database import Base, UtcDateTime, create_engine
from service.jobs import tables as _jobs  # noqa: F401
from service.licenses import tables as _licenses  # noqa: F401
from service.ownership import tables as _ownership  # noqa: F401
from service.ownership.traces import tables as _traces  # noqa: F401
from service.settings import Settings
from service.students import tables as _students  # noqa: F401
from service.usage import tables as _usage  # noqa: F401

LOCK_TIMEOUT = "5s"


def render_item(kind: str, item: object, _: object) -> str | bool:
    """A migration stands by itself: our column type is written as the one it wraps."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # One migrates, others wait as long as it takes; what they then wait for is a table that a gateway is using.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('signet migrations'))")
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True, render_item=render_item
    )
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    url = context.config.attributes.get("database_url") or Settings().resolved_database_url()
    engine = create_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()


asyncio.run(main())
