"""How each kind of job is done: its steps in order, each guarded, each run by whoever makes it durable."""

import asyncio
import errno
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from safetensors import SafetensorError

from models.errors import ModelError
from service.audit.service import take_turn
from service.catalogue import artefacts
from service.database import is_away, reading
from service.errors import ServiceError
from service.jobs.repository import get_job_or_raise
from service.jobs.service import fail
from service.jobs.tables import OPEN, Job, JobKind, JobState
from service.jobs.workshop import JobFailed, JobStopped, Notes, Step, Workshop
from service.keyring import KeyRingError
from service.ownership.traces import holding
from service.students import distilling

log = structlog.get_logger(__name__)
Outcome = dict[str, Any]  # {"notes": ...}, {"failure": words} or {"stopped": True}: JSON
Durably = Callable[[str, Callable[[], Awaitable[Outcome]]], Awaitable[Outcome]]
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_SAID = re.compile(r"no space left|quota exceeded", re.IGNORECASE)  # safetensors keeps no number


@dataclass(frozen=True, slots=True)
class Work:
    """A kind's steps, and what cleans up after them: of the job's id, its subject, and whether it succeeded."""

    steps: tuple[tuple[str, Step], ...]
    clear: Callable[..., None]


WORK: dict[JobKind, Work] = {
    JobKind.DISTILLATION: Work(distilling.STEPS, distilling.clear),
    JobKind.TRACE: Work(holding.STEPS, holding.clear),
}


async def run(workshop: Workshop, job_id: str, durably: Durably) -> None:
    """All steps of a job; the first that fails ends it. `durably(name, step)` runs one, or knows what it once gave."""
    begun, outcome = await durably("begin", partial(_begin, workshop, job_id)), Outcome()
    steps, notes = WORK[JobKind(begun["kind"])].steps if "kind" in begun else (), Notes()
    for name, step in steps:
        outcome = await durably(name, partial(guarded, step, workshop, job_id, dict(notes)))
        if "notes" not in outcome:
            break
        notes |= outcome["notes"]
    await durably("end", partial(_end, workshop, job_id, outcome.get("failure")))


async def guarded(step: Step, workshop: Workshop, job_id: str, notes: Notes) -> Outcome:
    """What a step comes to. Only a database that is away is raised: the step is tried again."""
    try:
        return {"notes": await step(workshop, job_id, notes)}
    except JobStopped:
        return {"stopped": True}
    except Exception as error:
        if is_away(error):
            raise
        words = _words(error)
        if words is None:
            log.exception("job.step.unforeseen", job=job_id)
            words = f"unforeseen: {type(error).__name__}; the worker's log says more"
        return {"failure": words}


async def _begin(workshop: Workshop, job_id: str) -> Outcome:
    """Nothing for a job that was cancelled while it waited."""
    async with workshop.sessions.begin() as session:
        await take_turn(session)
        job = await get_job_or_raise(session, job_id, lock=True)
        if job.state not in OPEN:
            return {}
        job.state, job.started_at = JobState.RUNNING, job.started_at or workshop.clock()
    log.info("job.started", job=job_id, kind=job.kind)
    return {"kind": job.kind}


async def _end(workshop: Workshop, job_id: str, failure: str | None) -> Outcome:
    if failure is not None:
        async with workshop.sessions.begin() as session:
            await fail(session, workshop.act(job_id), job_id, failure)
    await clear(workshop, job_id)
    return {}


async def clear(workshop: Workshop, job_id: str) -> None:
    """Remove what a job that has ended kept on the disk."""
    async with reading(workshop.sessions) as session:
        job = await get_job_or_raise(session, job_id)
    log.info("job.ended", job=job_id, state=job.state, failure=job.failure)
    succeeded = job.state == JobState.SUCCEEDED
    WORK[JobKind(job.kind)].clear(workshop, job_id, job.subject, succeeded=succeeded)


async def sweep(workshop: Workshop) -> None:
    """Remove what is kept for jobs that ended before a worker took them (a suspect), and what killed uploads left."""
    folder = workshop.settings.home / "jobs"
    await asyncio.to_thread(artefacts.sweep, folder, ".*.incoming")
    for job_id in [path.name for path in folder.iterdir()] if folder.is_dir() else []:
        async with reading(workshop.sessions) as session:
            job = await session.get(Job, job_id)
        if job is not None and job.state not in OPEN:
            await clear(workshop, job_id)


def _words(error: Exception) -> str | None:
    """What is wrong, for whoever asked for the job; None for a bug."""
    if (isinstance(error, OSError) and error.errno in _FULL) or _FULL_SAID.search(str(error)):
        return "the disk of SIGNET_HOME is full: free some of it, then reissue the license or ask for the trace again"
    if isinstance(error, JobFailed | ModelError | KeyRingError):
        return str(error)
    if isinstance(error, ServiceError):
        return error.detail
    if isinstance(error, OSError | SafetensorError):
        return f"a file of SIGNET_HOME cannot be read or written: {getattr(error, 'strerror', None) or error}"
    if isinstance(error, MemoryError) or "not enough memory" in str(error):
        return "the worker has not enough memory for this network"
    return None
