"""What the steps of jobs work with, and how they say how far they are. One event loop each."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from service.audit.service import Act
from service.catalogue.artefacts import ArtefactStore
from service.clock import Clock
from service.customers import tables as _customers  # noqa: F401 - licenses refer to it, and nobody else here imports it
from service.database import create_engine, sessions_of
from service.jobs.tables import OPEN, Job
from service.keyring import KeyRing, make_private, open_ring
from service.settings import Settings
from service.students.store import StudentStore

log = structlog.get_logger(__name__)
_TOLD_EVERY_S = 1.0
Notes = dict[str, Any]  # what steps leave to those after them: JSON, and no secret
Step = Callable[["Workshop", str, Notes], Awaitable[Notes]]  # of a job's id and the notes so far


class JobStopped(Exception):
    """The job was cancelled, or its license revoked, while it ran."""


class JobFailed(Exception):
    """What is wrong, in words for whoever asked for the job."""


@dataclass(slots=True)
class Workshop:
    """A home and its database, from outside of the gateway's process."""

    settings: Settings
    clock: Clock
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]

    @classmethod
    def open(cls, settings: Settings, clock: Clock) -> "Workshop":
        """Nothing is connected yet."""
        engine = create_engine(settings.resolved_database_url(), pool_size=2)
        return cls(settings, clock, engine, sessions_of(engine))

    @property
    def ring(self) -> KeyRing:
        """The key ring as it is now: it may have been rotated since."""
        return open_ring(self.settings.home / "keys" / "ring.json", create=False)

    @property
    def store(self) -> ArtefactStore:
        """Versions."""
        return ArtefactStore(self.settings.home / "models", self.ring.public_keys())

    @property
    def students(self) -> StudentStore:
        """Students."""
        return StudentStore(self.settings.home / "students", self.ring.public_keys())

    def act(self, job_id: str) -> Act:
        """Who does what a job does, for the audit log."""
        return Act("worker", job_id, self.clock)

    def folder(self, job_id: str) -> Path:
        """Where a job keeps what it needs from one step to the next; 0700."""
        folder = self.settings.home / "jobs" / job_id
        make_private(folder)
        return folder

    def clear(self, job_id: str) -> None:
        """Remove what a job kept."""
        shutil.rmtree(self.settings.home / "jobs" / job_id, ignore_errors=True)


class Watch:
    """How far a step is. Called by the thread that works; told to the database, which says whether to go on, by us."""

    def __init__(self, workshop: Workshop, job_id: str, step: str) -> None:
        self._workshop, self._job_id, self._step = workshop, job_id, step
        self._done = self._total = 0
        self._stopped = False

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` parts; raises JobStopped when the job is not wanted any more."""
        self._done, self._total = done, total
        if self._stopped:
            raise JobStopped

    async def tell(self) -> None:
        """Write it down; remember whether the job is still open."""
        of_job = (Job.id == self._job_id) & Job.state.in_(OPEN)
        values = {"step": self._step, "done": self._done, "total": self._total}
        async with self._workshop.sessions.begin() as session:
            found = await session.execute(update(Job).where(of_job).values(values).returning(Job.id))
            self._stopped = found.first() is None

    async def keep_telling(self, over: asyncio.Event) -> None:
        """Until it is over. A database that is away for a moment stops nobody."""
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _TOLD_EVERY_S)
            try:
                await self.tell()
            except Exception as error:
                log.warning("job.progress.unwritten", job=self._job_id, error=type(error).__name__)


@asynccontextmanager
async def watching(workshop: Workshop, job_id: str, step: str) -> AsyncIterator[Watch]:
    """A step's progress, told while the block runs. Raises JobStopped at once when the job is not wanted."""
    watch = Watch(workshop, job_id, step)
    await watch.tell()
    watch(0, 0)
    over = asyncio.Event()
    telling = asyncio.create_task(watch.keep_telling(over))
    try:
        yield watch
    finally:
        over.set()
        await telling  # not cancelled: a transaction that is cut off may keep SQLite's write lock
