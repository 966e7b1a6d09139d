"""A job's progress as server-sent events: what is new, as it comes, until the job has ended."""

import asyncio
from collections.abc import AsyncIterator

from fastapi.sse import ServerSentEvent
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from service.database import reading
from service.jobs.repository import get_job_or_raise, job_read
from service.jobs.schemas import JobRead
from service.jobs.tables import OPEN

_LOOK_S = 0.5


async def events(sessions: async_sessionmaker[AsyncSession], first: JobRead) -> AsyncIterator[ServerSentEvent]:
    """`progress` events, each the whole job, and one `end`: `first`, and then whatever differs from the one before.

    No connection is held between looks. Comments that keep the line open are the framework's.
    """
    job = first
    yield _event(job, 0)
    number = 0
    while job.state in OPEN:
        await asyncio.sleep(_LOOK_S)
        async with reading(sessions) as session:
            latest = job_read(await get_job_or_raise(session, job.id))
        if latest != job:
            number += 1
            job = latest
            yield _event(job, number)


def _event(job: JobRead, number: int) -> ServerSentEvent:
    return ServerSentEvent(
        raw_data=job.model_dump_json(), event="progress" if job.state in OPEN else "end", id=str(number)
    )
