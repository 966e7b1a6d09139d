"""Ending a job before its time. Whoever changes a job's state takes their turn first: a cancellation and the end of the
work that it is about do not cross.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import Act, record, take_turn
from service.errors import Conflict
from service.jobs import kinds
from service.jobs.repository import get_job_or_raise
from service.jobs.rows import end
from service.jobs.tables import OPEN, Job, JobKind, JobState


async def cancel(session: AsyncSession, act: Act, job_id: str) -> Job:
    """End a job that has not ended, and what hangs on it; its worker stops within seconds. Twice changes nothing.

    Raises:
        NotFound. Conflict: it has ended.
    """
    await take_turn(session)
    job = await get_job_or_raise(session, job_id, lock=True)
    if job.state == JobState.CANCELLED:
        return job
    if job.state not in OPEN:
        raise Conflict("job_id", f"the job has {job.state} already")
    end(act, job, JobState.CANCELLED)
    await record(session, act, "job.cancelled", job.id, kind=job.kind)
    await kinds.ENDED[JobKind(job.kind)](session, act, job)
    return job


async def fail(session: AsyncSession, act: Act, job_id: str, failure: str) -> None:
    """Note that a job cannot be done, and let what hangs on it know; nothing if it has ended."""
    await take_turn(session)
    job = await get_job_or_raise(session, job_id, lock=True)
    if job.state not in OPEN:
        return
    end(act, job, JobState.FAILED, failure)
    await record(session, act, "job.failed", job.id, kind=job.kind)
    await kinds.ENDED[JobKind(job.kind)](session, act, job)
