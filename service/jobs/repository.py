"""Statements about jobs."""

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.errors import NotFound
from service.jobs.schemas import JobRead
from service.jobs.tables import OPEN, Job, JobKind, JobState


def jobs(state: JobState | None = None, kind: JobKind | None = None) -> Select[Job]:
    """Jobs, narrowed by whichever is given."""
    statement = select(Job)
    if state is not None:
        statement = statement.where(Job.state == state)
    return statement if kind is None else statement.where(Job.kind == kind)


async def get_job_or_raise(session: AsyncSession, job_id: str, *, lock: bool = False) -> Job:
    """The job of this id.

    Raises:
        NotFound
    """
    job = await session.get(Job, job_id, with_for_update=lock or None, populate_existing=lock)
    if job is None:
        raise NotFound("job_id", "no job of this id")
    return job


async def open_jobs(session: AsyncSession) -> Sequence[Job]:
    """Those that are queued or running, oldest first."""
    return (await session.scalars(select(Job).where(Job.state.in_(OPEN)).order_by(Job.created_at, Job.id))).all()


async def is_work_left(session: AsyncSession) -> bool:
    """Whether a worker is wanted."""
    return await session.scalar(select(Job.id).where(Job.state.in_(OPEN)).limit(1)) is not None


def job_read(job: Job) -> JobRead:
    """A job's row on the wire."""
    return JobRead(
        id=job.id,
        kind=JobKind(job.kind),
        subject=job.subject,
        state=JobState(job.state),
        step=job.step,
        done=job.done,
        total=job.total,
        failure=job.failure,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
