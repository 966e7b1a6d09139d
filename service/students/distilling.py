"""A student's job, step by step. A step that was finished is not done again; one that was killed begins again, and
leaves the same: a checkpoint an epoch, files put in place whole, and the end in one transaction.
"""

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import torch
from sqlalchemy.ext.asyncio import AsyncSession
from torch import Tensor

from models.checkpoints import Manifest, decode_calibration, encode_weights, sign_manifest
from models.watermarks.signs import key_digest
from service.audit.service import record, take_turn
from service.catalogue.artefacts import Artefact, write_file
from service.catalogue.tables import Model, ModelVersion
from service.clock import rfc3339
from service.database import reading
from service.jobs.repository import get_job_or_raise
from service.jobs.rows import end
from service.jobs.tables import OPEN, JobState
from service.jobs.torching import on_torch
from service.jobs.workshop import JobFailed, JobStopped, Notes, Step, Watch, Workshop, watching
from service.keyring import KeyRing
from service.licenses.tables import License
from service.students import numbers
from service.students.repository import get_student_or_raise, ready_students, waiting_licenses
from service.students.service import enrol
from service.students.store import StudentFiles
from service.students.tables import Student, StudentState
from service.students.teaching import Lesson

CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "student.safetensors"
MOST_OTHERS = 64  # numbers of other customers that a student is taught to refuse


async def load(workshop: Workshop, job_id: str, _: Notes) -> Notes:
    """Check teacher and distillation set; settle which other customers' numbers the student is taught to refuse."""
    async with watching(workshop, job_id, "load"):
        async with reading(workshop.sessions) as session:
            job = await get_job_or_raise(session, job_id)
            student = await get_student_or_raise(session, job.subject)
            others = await ready_students(session, student.version_id, MOST_OTHERS)
        notes: Notes = {"student": student.id, "others": [other.id for other in others]}
        await _lesson_of(workshop, notes)
    return notes


async def distil(workshop: Workshop, job_id: str, notes: Notes) -> Notes:
    """Train the student, from its checkpoint if there is one."""
    async with watching(workshop, job_id, "distil") as watch:
        lesson, folder = await _lesson_of(workshop, notes), workshop.folder(job_id)
        await on_torch(workshop, lambda: _teach(lesson, folder, watch))
    return {}


async def measure(workshop: Workshop, job_id: str, notes: Notes) -> Notes:
    """How well the student knows its number, on inputs that it has not seen; one that is not locked goes no further."""
    async with watching(workshop, job_id, "measure"):
        lesson, weights = await _lesson_of(workshop, notes), workshop.folder(job_id) / WEIGHTS
        metrics = await on_torch(workshop, lambda: lesson.measured(weights.read_bytes()))
        leak = lesson.leak_of(metrics)
        if leak is not None:
            raise JobFailed(leak)
    return {"metrics": metrics}


async def write(workshop: Workshop, job_id: str, notes: Notes) -> Notes:
    """Put the student's files in their place, signed."""
    async with watching(workshop, job_id, "write"):
        async with reading(workshop.sessions) as session:
            student = await get_student_or_raise(session, notes["student"])
        lesson, ring = await _lesson_of(workshop, notes), workshop.ring
        weights = await asyncio.to_thread((workshop.folder(job_id) / WEIGHTS).read_bytes)
        manifest = manifest_of(lesson, student, weights, notes["metrics"])
        files = StudentFiles(sign_manifest(manifest, ring.active_issuer, ring.issuer), weights)
        await asyncio.to_thread(workshop.students.write, student.id, files)
    return {"digest": files.digest}


async def activate(workshop: Workshop, job_id: str, notes: Notes) -> Notes:
    """The student is ready, its number enrolled, its licenses active: all of it or nothing."""
    act, ring = workshop.act(job_id), workshop.ring
    async with reading(workshop.sessions) as session:
        version = await _version_of(workshop, session, await get_student_or_raise(session, notes["student"]))
    async with workshop.sessions.begin() as session:
        await take_turn(session)
        job = await get_job_or_raise(session, job_id, lock=True)
        if job.state == JobState.SUCCEEDED:  # killed between the commit and the note of it
            return {}
        if job.state not in OPEN:
            raise JobStopped
        student = await get_student_or_raise(session, notes["student"])
        student.state, student.finished_at = StudentState.READY, act.clock()
        student.digest, student.metrics = notes["digest"], notes["metrics"]
        await record(session, act, "student.ready", student.id, digest=notes["digest"])
        overlap = timedelta(hours=student.overlap_hours)
        for license in await waiting_licenses(session, student):
            number = _number_for(ring, license, student, version, act.clock())
            await enrol(session, ring, license, student, version.artefact.digest, number, act.clock(), overlap)
            license.revision = await record(session, act, "license.activated", license.id, student=student.id)
        job.step, job.done, job.total = "activate", 1, 1
        end(act, job, JobState.SUCCEEDED)
    return {}


def clear(workshop: Workshop, job_id: str, subject: str, *, succeeded: bool) -> None:
    """Remove what the job kept and, unless the student is ready, its files."""
    workshop.clear(job_id)
    if not succeeded:
        workshop.students.remove(subject)


STEPS: tuple[tuple[str, Step], ...] = (
    ("load", load),
    ("distil", distil),
    ("measure", measure),
    ("write", write),
    ("activate", activate),
)


class _Version(NamedTuple):
    """A student's version: what a statement calls it, and its files."""

    name: str
    artefact: Artefact


async def _version_of(workshop: Workshop, session: AsyncSession, student: Student) -> _Version:
    version = await session.get_one(ModelVersion, student.version_id)
    model = await session.get_one(Model, version.model_id)
    digest = bytes.fromhex(version.digest)
    artefact = await asyncio.to_thread(workshop.store.read, model.name, version.number, digest)
    return _Version(f"{model.name}/{version.number}", artefact)


async def _lesson_of(workshop: Workshop, notes: Notes) -> Lesson:
    async with reading(workshop.sessions) as session:
        student = await get_student_or_raise(session, notes["student"])
        others = [await get_student_or_raise(session, other) for other in notes["others"]]
        version = await _version_of(workshop, session, student)
    ring, bits = workshop.ring, numbers.policy_of(version.artefact.manifest).layout.bits

    def number_of(each: Student) -> Tensor:
        return torch.from_numpy(numbers.again(ring, each.statement, each.issuer_key_id, bits).bits)

    known, mark_key = tuple(number_of(other) for other in others), numbers.mark_key(ring, student.id)
    return await on_torch(workshop, lambda: Lesson.of(version.artefact, number_of(student), known, mark_key))


def _teach(lesson: Lesson, folder: Path, watch: Watch) -> None:
    student = lesson.teach(folder / CHECKPOINT, watch)
    write_file(folder / WEIGHTS, encode_weights(student))


def manifest_of(lesson: Lesson, student: Student, weights: bytes, metrics: dict[str, float]) -> Manifest:
    """A version's, with the student's network; the same bytes each time."""
    return replace(
        lesson.artefact.manifest,
        network=lesson.policy.network,
        network_config=lesson.policy.network_config,
        output_spec=lesson.output_spec,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        metrics=metrics,
        created_at=rfc3339(student.created_at),
        key_id=None,
        signature=None,
        serial_numbers=None,
        distillation_sha256=None,
        mark_sha256=key_digest(lesson.mark.key),
    )


def _number_for(
    ring: KeyRing, license: License, student: Student, version: _Version, now: datetime
) -> numbers.SerialNumber:
    """A license's: its own student's, or a fresh one for the student that many share."""
    manifest = version.artefact.manifest
    policy = numbers.policy_of(manifest)
    if student.license_id is not None:
        return numbers.again(ring, student.statement, student.issuer_key_id, policy.layout.bits)
    calibration = decode_calibration(version.artefact.calibration, manifest.input_spec)
    return numbers.make(ring, license.id, version.name, now, policy.stamp(manifest.input_spec), calibration)
