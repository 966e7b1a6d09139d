"""`/v1/jobs`."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.admin_keys.auth import AsAuditor, AsIssuer
from service.database import Reading, Transaction, reading
from service.gateway import gateway_of
from service.ids import JobId
from service.jobs import repository, service
from service.jobs.events import events
from service.jobs.schemas import JobRead
from service.jobs.tables import Job, JobKind, JobState
from service.openapi import ADMIN, PROBLEMS
from service.pages import CursorText, Limit, Page, page

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=ADMIN)


@router.get("")
async def list_jobs(
    act: AsAuditor,
    session: Reading,
    state: JobState | None = None,
    kind: JobKind | None = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[JobRead]:
    """Jobs, oldest first."""
    return await page(session, repository.jobs(state, kind), Job, repository.job_read, limit, cursor)


@router.get("/{job_id}", responses={404: PROBLEMS[404]})
async def show_a_job(job_id: JobId, act: AsAuditor, session: Reading) -> JobRead:
    """One job, and how far it is."""
    return repository.job_read(await repository.get_job_or_raise(session, job_id))


@router.post("/{job_id}/cancel", responses={404: PROBLEMS[404], 409: PROBLEMS[409]})
async def cancel_a_job(job_id: JobId, act: AsIssuer, session: Transaction) -> JobRead:
    """End a job that has not ended. The licenses that wait for its student are revoked; others go on as they were."""
    return repository.job_read(await service.cancel(session, act, job_id))


async def _job(job_id: JobId, request: Request, act: AsAuditor) -> JobRead:
    """Looked up before the answer begins, so that a job that is not there is a 404."""
    async with reading(gateway_of(request).sessions) as session:
        return repository.job_read(await repository.get_job_or_raise(session, job_id))


@router.get("/{job_id}/events", response_class=EventSourceResponse, responses={404: PROBLEMS[404]})
async def watch_a_job(request: Request, job: Annotated[JobRead, Depends(_job)]) -> AsyncIterator[ServerSentEvent]:
    """Its progress, as server-sent events, until it has ended: `progress` and one `end`, each with the whole job."""
    async for event in events(gateway_of(request).sessions, job):
        yield event
