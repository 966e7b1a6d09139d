"""One job's row, made and ended within the transactions of others."""

from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import Act
from service.ids import new_id
from service.jobs.tables import Job, JobKind, JobState

LONGEST_FAILURE = 500  # characters


def add(session: AsyncSession, act: Act, kind: JobKind, subject: str) -> Job:
    """A job in the transaction of what it is for; a worker finds it there."""
    job = Job(
        id=new_id("job"),
        kind=kind,
        subject=subject,
        state=JobState.QUEUED,
        done=0,
        total=0,
        created_at=act.clock(),
    )
    session.add(job)
    return job


def end(act: Act, job: Job, state: JobState, failure: str | None = None) -> None:
    """Write down how a job ended, in its last transaction."""
    job.state, job.finished_at = state, act.clock()
    job.failure = None if failure is None else failure[:LONGEST_FAILURE]
