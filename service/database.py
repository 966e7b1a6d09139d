"""Engine, naming convention and the transaction of a request. SQLite (WAL) or PostgreSQL, the same code."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import asyncpg
from fastapi import Depends, Request
from sqlalchemy import Connection, DateTime, Dialect, Engine, MetaData, TypeDecorator, event
from sqlalchemy import create_engine as create_blocking_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

Result = TypeVar("Result")
BUSY_TIMEOUT_S = 30
CHANGED = "signet.changed"
ANSWERS = "signet.answers"  # in a session's `info`: the model whose answering version may change with it


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
    _configure_sqlite(engine.sync_engine)
    return engine


def _configure_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
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

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("signet_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


class Transactions:
    """Transactions written as plain functions of a connection, on the database of an engine.

    On SQLite they run one after the other in a thread of their own: the async driver changes threads at every
    statement, which takes longer than the statements do and is most of what an answer's latency varies by.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._thread: ThreadPoolExecutor | None = None
        if engine.dialect.name == "sqlite":
            url = engine.url.set(drivername="sqlite+pysqlite")
            connect_args = {"timeout": BUSY_TIMEOUT_S}
            self._blocking = create_blocking_engine(url, hide_parameters=True, connect_args=connect_args)
            _configure_sqlite(self._blocking)
            self._thread = ThreadPoolExecutor(1, "counting")

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """What `work` returns, its changes committed; what it raises, and nothing changed.

        Cancelled, it may have been committed all the same: on SQLite the thread finishes what it has begun.
        """
        if self._thread is None:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run_blocking, work)

    def _run_blocking(self, work: Callable[[Connection], Result]) -> Result:
        with self._blocking.begin() as connection:
            return work(connection)

    async def dispose(self) -> None:
        """Close what `run` has opened; the engine stays its owner's."""
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._blocking.dispose)
            self._thread.shutdown()


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
    if ANSWERS in session.info:
        await gateway.lifecycle.settled(session.info[ANSWERS])


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
