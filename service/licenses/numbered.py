"""Licenses proved by a serial number: issued once their student is ready, their files written whenever asked for.

`own`: a student is distilled for this license; until then it is pending. `shared`: the version's one student takes the
numbers of many; whoever comes first waits for it. A number is not kept: statement and issuer key give it again.
"""

from dataclasses import dataclass, field
from datetime import timedelta

import torch
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from models.serial_numbers.dsn import Policy, Stamp
from service.audit.service import Act, record
from service.control.book import VersionRecord
from service.database import reading
from service.errors import Conflict
from service.gateway import Gateway
from service.ids import new_id
from service.licenses.files import manifest_of
from service.licenses.repository import get_license_or_raise, read
from service.licenses.schemas import LicenseRead
from service.licenses.tables import CredentialKind, License, LicenseStatus
from service.students import numbers
from service.students.repository import get_student_or_raise, pending_student, shared_student
from service.students.service import ask_for, enrol
from service.students.tables import Student, StudentKind, StudentState


@dataclass(frozen=True, slots=True)
class Teacher:
    """A version that makes students, and what a number for one of them needs."""

    version: VersionRecord
    policy: Policy
    stamp: Stamp
    calibration: torch.Tensor = field(repr=False)

    @property
    def model(self) -> str:
        return f"{self.version.model_name}/{self.version.number}"


async def teacher_of(gateway: Gateway, version: VersionRecord) -> Teacher:
    """What a version makes students with.

    Raises:
        Conflict: it makes none, or it cannot be loaded.
    """
    manifest = await manifest_of(gateway, version)
    policy = numbers.policy_of(manifest)
    loaded = await gateway.engine.load(version)
    return Teacher(version, policy, policy.stamp(manifest.input_spec), loaded.calibration)


async def place(
    gateway: Gateway, session: AsyncSession, act: Act, license: License, teacher: Teacher, prepared: "Prepared"
) -> Student:
    """Give a license's row its student: one that is ready takes its number now, others are waited for.

    Raises:
        Conflict: the one that is waited for comes with another overlap.
    """
    student = None
    if prepared.kind == StudentKind.SHARED:
        student = await shared_student(session, teacher.version.id)
    if student is None:
        owner = license.id if prepared.kind == StudentKind.OWN else None
        number = prepared.own if prepared.kind == StudentKind.OWN else prepared.students
        student = await ask_for(session, act, prepared.student_id, teacher.version.id, owner, number, prepared.overlap)
    elif student.state == StudentState.PENDING and license.status != LicenseStatus.PENDING:
        _check_overlap(student, prepared.overlap)
    license.student_id = student.id
    if student.state == StudentState.READY:
        digest = teacher.version.digest
        await enrol(session, gateway.ring, license, student, digest, prepared.own, act.clock(), prepared.overlap)
    return student


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a license may need, made before the transaction: its number, and a new student's own."""

    kind: StudentKind
    student_id: str
    own: numbers.SerialNumber
    students: numbers.SerialNumber
    overlap: timedelta = timedelta(0)


async def prepare(
    gateway: Gateway,
    act: Act,
    license_id: str,
    teacher: Teacher,
    kind: StudentKind,
    overlap: timedelta = timedelta(0),
) -> Prepared:
    """Numbers for a license and for a student, in the torch thread."""
    student_id, now = new_id("stu"), act.clock()

    def make(customer: str) -> numbers.SerialNumber:
        return numbers.make(gateway.ring, customer, teacher.model, now, teacher.stamp, teacher.calibration)

    own, students = await gateway.engine.run(lambda: (make(license_id), make(student_id)))
    return Prepared(kind, student_id, own, students, overlap)


async def reissue(
    gateway: Gateway, act: Act, license: License, version: VersionRecord, overlap: timedelta
) -> LicenseRead:
    """A fresh number: on the shared student at once, on a student of its own when that is distilled.

    What is pending because its student failed is tried again. Raises Conflict: one is being made for it already.
    """
    async with reading(gateway.sessions) as session:
        last = await get_student_or_raise(session, license.student_id or "")
    kind = StudentKind.SHARED if last.license_id is None else StudentKind.OWN
    teacher = await teacher_of(gateway, version)
    prepared = await prepare(gateway, act, license.id, teacher, kind, overlap)
    try:
        async with gateway.sessions.begin() as session:
            row = await get_license_or_raise(session, license.id, lock=True)
            await _check_reissuable(session, row)
            student = await place(gateway, session, act, row, teacher, prepared)
            hours = overlap // timedelta(hours=1)
            details = {"credential": CredentialKind.SERIAL_NUMBER, "overlap_hours": hours, "student": student.id}
            row.revision = await record(session, act, "license.reissued", row.id, **details)
            (shown,) = await read(session, [row])
    except IntegrityError:
        raise Conflict(
            "license_id", "the license, or another one, was issued anew at the same time; try again"
        ) from None
    await gateway.sync.try_refresh()
    return shown


def _check_overlap(student: Student, overlap: timedelta) -> None:
    if timedelta(hours=student.overlap_hours) != overlap:
        hours, job = student.overlap_hours, student.job_id
        said = f"the shared student that is being made for others comes with {hours}; take that, or wait for job {job}"
        raise Conflict("overlap_hours", said)


async def _check_reissuable(session: AsyncSession, license: License) -> None:
    if license.status == LicenseStatus.REVOKED:
        raise Conflict("license_id", "the license is revoked; that is final, issue a new one")
    student = await get_student_or_raise(session, license.student_id or "")
    pending = await pending_student(session, license.id)
    if pending is not None or (license.status == LicenseStatus.PENDING and student.state == StudentState.PENDING):
        job = (pending or student).job_id
        raise Conflict("license_id", f"its student is being made already; see job {job}")
