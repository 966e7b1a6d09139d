"""What happens to a student: asked for, ready, or given up. Each is one transaction with its job and its licenses."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import Act, record
from service.ids import new_id
from service.jobs.repository import get_job_or_raise
from service.jobs.rows import add, end
from service.jobs.tables import OPEN, Job, JobKind, JobState
from service.keyring import KeyRing
from service.licenses.credentials import serial_number_digest
from service.licenses.repository import credentials_of
from service.licenses.tables import Credential, CredentialKind, License, LicenseStatus
from service.students.numbers import SerialNumber
from service.students.repository import get_student_or_raise, pending_student, waiting_licenses
from service.students.tables import Student, StudentState


async def ask_for(
    session: AsyncSession,
    act: Act,
    student_id: str,
    version_id: str,
    license_id: str | None,
    number: SerialNumber,
    overlap: timedelta = timedelta(0),
) -> Student:
    """A student and the job that makes it, for a license or, without one, for all customers of the version."""
    job = add(session, act, JobKind.DISTILLATION, student_id)
    student = Student(
        id=student_id,
        version_id=version_id,
        license_id=license_id,
        statement=number.statement,
        issuer_key_id=number.issuer_key_id,
        state=StudentState.PENDING,
        job_id=job.id,
        overlap_hours=overlap // timedelta(hours=1),
        created_at=act.clock(),
    )
    session.add(student)
    await session.flush()
    return student


async def enrol(
    session: AsyncSession,
    ring: KeyRing,
    license: License,
    student: Student,
    version_digest: bytes,
    number: SerialNumber,
    now: datetime,
    overlap: timedelta = timedelta(0),
) -> None:
    """Give a license its number on a student that is ready; a credential that it has already goes on for `overlap`."""
    earlier = await credentials_of(session, license.id)
    if earlier:
        license.generation += 1
    for credential in earlier:
        credential.ends_at = min(credential.ends_at or now + overlap, now + overlap)
    await session.flush()
    session.add(
        Credential(
            id=new_id("crd"),
            license_id=license.id,
            kind=CredentialKind.SERIAL_NUMBER,
            digest=serial_number_digest(ring, ring.active_root, version_digest, number.bits),
            pepper_root=ring.active_root,
            model_version_id=student.version_id,
            statement=number.statement,
            issuer_key_id=number.issuer_key_id,
            student_id=student.id,
            generation=license.generation,
            created_at=now,
        )
    )
    license.student_id = student.id
    if license.status == LicenseStatus.PENDING:
        license.status = LicenseStatus.ACTIVE
    await session.flush()


async def given_up(session: AsyncSession, act: Act, job: Job) -> None:
    """A student whose job failed or was cancelled.

    Its licenses that have no other stay pending after a failure, and can be reissued; a cancellation revokes them.
    Those that have one go on with it.
    """
    student = await get_student_or_raise(session, job.subject)
    cancelled = job.state == JobState.CANCELLED
    student.state = StudentState.CANCELLED if cancelled else StudentState.FAILED
    student.failure, student.finished_at = job.failure, act.clock()
    for license in await waiting_licenses(session, student):
        if license.status != LicenseStatus.PENDING:
            credentials = await credentials_of(session, license.id)
            license.student_id = next((each.student_id for each in credentials if each.ends_at is None), None)
        elif cancelled:
            license.status, license.revoked_at = LicenseStatus.REVOKED, act.clock()
            license.revision = await record(session, act, "license.revoked", license.id, job=job.id)
    await session.flush()


async def no_longer_wanted(session: AsyncSession, act: Act, license: License) -> None:
    """A license was revoked: the student that was being made for it alone is not."""
    student = await pending_student(session, license.id)
    if student is None:
        return
    job = await get_job_or_raise(session, student.job_id, lock=True)
    if job.state in OPEN:
        end(act, job, JobState.CANCELLED)
        await record(session, act, "job.cancelled", job.id, kind=job.kind)
        await given_up(session, act, job)
