"""Engine, naming convention and the transaction of a request. SQLite (WAL) or PostgreSQL, the same code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, Request
from sqlalchemy import DateTime, Dialect, MetaData, TypeDecorator, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

BUSY_TIMEOUT_S = 30
CHANGED = "signet.changed"


def is_away(error: Exception) -> bool:
    """Whether `error` says that the database does not answer, rather than that we asked it wrongly."""
    if isinstance(error, DBAPIError):
        return (
            isinstance(error, OperationalError | InterfaceError)
            or type(error) is DBAPIError  # asyncpg's, of no class that Python's DB-API knows
            or error.connection_invalidated
        )
    # At the start of a connection the driver's own errors come through.
    return isinstance(error, PoolTimeout | ConnectionError | TimeoutError | asyncpg.PostgresError)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in and out. SQLite keeps no zone, so both store UTC and give it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Constraint names come from one convention, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime}  # noqa: RUF012 - SQLAlchemy's declarative attribute


def create_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An engine of up to twice `pool_size` connections.

    SQLite connections begin IMMEDIATE: a deferred one that upgrades fails with "database is locked".
    """
    if not url.startswith("sqlite"):
        return create_async_engine(
            url, hide_parameters=True, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True
        )
    engine = create_async_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("signet_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def sessions_of(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Sessions that write, and whose objects stay readable after the commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def _transaction(request: Request) -> AsyncIterator[AsyncSession]:
    gateway = request.app.state.gateway
    async with gateway.sessions.begin() as session:  # commit on success, rollback on error
        yield session
    if session.info.get(CHANGED):
        # The next request of this process already sees it. What is committed stays so, even if this look fails.
        await gateway.sync.try_refresh()


@asynccontextmanager
async def reading(sessions: async_sessionmaker[AsyncSession]) -> AsyncIterator[AsyncSession]:
    """A session that only reads: on SQLite it takes no write lock."""
    async with sessions() as session:
        await session.connection(execution_options={"signet_reading": True})
        yield session


async def _reading(request: Request) -> AsyncIterator[AsyncSession]:
    async with reading(request.app.state.gateway.sessions) as session:
        yield session


# scope="function": the transaction ends before the answer leaves, so a failed commit cannot say 200.
Transaction = Annotated[AsyncSession, Depends(_transaction, scope="function")]
Reading = Annotated[AsyncSession, Depends(_reading, scope="function")]
