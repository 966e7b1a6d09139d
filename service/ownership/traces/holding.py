"""A trace's job: hold the suspect against the students, then sign what was found. Killed, a step begins again."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from models.evaluation.tracing import MarkReading, Suspicion, Trace, trace
from service.audit.service import record, take_turn
from service.catalogue.tables import Model, ModelVersion
from service.database import reading
from service.jobs.repository import get_job_or_raise
from service.jobs.rows import end
from service.jobs.tables import OPEN, JobState
from service.jobs.torching import on_torch
from service.jobs.workshop import JobStopped, Notes, Step, Watch, Workshop, watching
from service.ownership.traces import evidence
from service.ownership.traces.case import PROBE, SUSPECT, Case
from service.ownership.traces.evidence import About, Accused
from service.ownership.traces.repository import get_trace_or_raise, owner_of, registered_students
from service.ownership.traces.schemas import ProbeKind
from service.ownership.traces.tables import OwnershipTrace
from service.students.repository import get_student_or_raise
from service.students.tables import Student


async def hold(workshop: Workshop, job_id: str, _: Notes) -> Notes:
    """Both witnesses, for every student that the version has by now."""
    async with watching(workshop, job_id, "hold") as watch:
        async with reading(workshop.sessions) as session:
            row = await _row(session, job_id)
            about = await _about(workshop, session, row)
            students = await registered_students(session, row.version_id)
        found = await on_torch(workshop, lambda: _hold(workshop, job_id, row, about.case, students, watch))
    return {"trace": asdict(found)}


async def sign(workshop: Workshop, job_id: str, notes: Notes) -> Notes:
    """The evidence, what it names, and the end of the job: all of it or nothing."""
    act, found = workshop.act(job_id), _trace(notes["trace"])
    async with watching(workshop, job_id, "sign"), reading(workshop.sessions) as session:
        row = await _row(session, job_id)
        about = await _about(workshop, session, row)
        accused = [await _accused(workshop, session, each) for each in (*found.named, *found.indicated)]
    async with workshop.sessions.begin() as session:
        await take_turn(session)
        job = await get_job_or_raise(session, job_id, lock=True)
        if job.state == JobState.SUCCEEDED:  # killed between the commit and the note of it
            return {}
        if job.state not in OPEN:
            raise JobStopped
        row = await get_trace_or_raise(session, row.id, lock=True)
        row.evidence = await asyncio.to_thread(evidence.write, workshop.ring, row, about, found, accused, act.clock())
        row.students, row.found = len(found.suspicions), [evidence.summary(each, found) for each in accused]
        named = [each.student.license_id or each.student.id for each in accused if each.suspicion.finding == "named"]
        await record(session, act, "ownership.traced", row.id, suspect=row.suspect_sha256, named=named)
        job.step, job.done, job.total = "sign", 1, 1
        end(act, job, JobState.SUCCEEDED)
    return {}


def clear(workshop: Workshop, job_id: str, subject: str, *, succeeded: bool) -> None:
    """Remove the suspect, whatever was found."""
    workshop.clear(job_id)


STEPS: tuple[tuple[str, Step], ...] = (("hold", hold), ("sign", sign))


async def _row(session: AsyncSession, job_id: str) -> OwnershipTrace:
    job = await get_job_or_raise(session, job_id)
    return await get_trace_or_raise(session, job.subject)


async def _about(workshop: Workshop, session: AsyncSession, row: OwnershipTrace) -> About:
    version = await session.get_one(ModelVersion, row.version_id)
    model = await session.get_one(Model, version.model_id)
    digest = bytes.fromhex(version.digest)
    artefact = await asyncio.to_thread(workshop.store.read, model.name, version.number, digest)
    return About(f"{model.name}/{version.number}", version.digest, Case.of(artefact))


def _hold(
    workshop: Workshop, job_id: str, row: OwnershipTrace, case: Case, students: Sequence[Student], watch: Watch
) -> Trace:
    folder, ring, store = workshop.folder(job_id), workshop.ring, workshop.students
    uploaded = (folder / PROBE).read_bytes() if row.probe == ProbeKind.UPLOADED else None
    registered = [case.registered(ring, store, student) for student in students]
    suspect, probe = (folder / SUSPECT).read_bytes(), case.probe(uploaded)
    return trace(suspect, case.shell(), case.stamp, registered, probe, draws=row.draws, on_stamps=watch)


async def _accused(workshop: Workshop, session: AsyncSession, suspicion: Suspicion) -> Accused:
    student = await get_student_or_raise(session, suspicion.id)
    owner = await owner_of(session, student)
    files = await asyncio.to_thread(workshop.students.read, student.id, student.digest or "")
    return Accused(suspicion, student, owner[1] if owner else None, files.manifest)


def _trace(notes: dict[str, Any]) -> Trace:
    """What `asdict` made JSON of."""

    def suspicion(each: dict[str, Any]) -> Suspicion:
        return Suspicion(**{**each, "mark": None if each["mark"] is None else MarkReading(**each["mark"])})

    lists = {"suspicions": tuple(map(suspicion, notes["suspicions"])), "histogram": tuple(notes["histogram"])}
    return Trace(**{**notes, **lists, "tensors": tuple(notes["tensors"])})
