"""Statements about traces."""

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from service.catalogue.tables import Model, ModelVersion, VersionState
from service.customers.tables import Customer
from service.errors import NotFound
from service.jobs.tables import Job, JobState
from service.licenses.tables import License
from service.ownership.traces.schemas import ProbeKind, TracedStudent, TraceRead
from service.ownership.traces.tables import OwnershipTrace
from service.students.tables import Student, StudentState


def traces(model: str | None) -> Select[OwnershipTrace]:
    """Traces, of one model or of all; without their evidence."""
    statement = select(OwnershipTrace).options(defer(OwnershipTrace.evidence))
    if model is None:
        return statement
    of_version = OwnershipTrace.version_id == ModelVersion.id
    return (
        statement.join(ModelVersion, of_version)
        .join(Model, ModelVersion.model_id == Model.id)
        .where(Model.name == model)
    )


async def get_trace_or_raise(session: AsyncSession, trace_id: str, *, lock: bool = False) -> OwnershipTrace:
    """The trace of this id.

    Raises:
        NotFound
    """
    row = await session.get(OwnershipTrace, trace_id, with_for_update=lock or None)
    if row is None:
        raise NotFound("trace_id", "no trace of this id")
    return row


async def version_of(session: AsyncSession, model: str, number: int | None) -> ModelVersion | None:
    """A model's version, in whatever state; without a number the one that is served."""
    statement = select(ModelVersion).join(Model, ModelVersion.model_id == Model.id).where(Model.name == model)
    if number is None:
        return await session.scalar(statement.where(ModelVersion.state == VersionState.SERVING))
    return await session.scalar(statement.where(ModelVersion.number == number))


async def registered_students(session: AsyncSession, version_id: str) -> Sequence[Student]:
    """All students that a version ever had, oldest first: a stolen copy outlives its license."""
    statement = select(Student).where(Student.version_id == version_id, Student.state == StudentState.READY)
    return (await session.scalars(statement.order_by(Student.created_at, Student.id))).all()


async def owner_of(session: AsyncSession, student: Student) -> tuple[License, Customer] | None:
    """Whose student it is; None for one that customers share."""
    if student.license_id is None:
        return None
    license = await session.get_one(License, student.license_id)
    return license, await session.get_one(Customer, license.customer_id)


async def read_traces(session: AsyncSession, rows: Sequence[OwnershipTrace]) -> list[TraceRead]:
    """Rows with the version they are about and how far their jobs are."""
    about = {
        version_id: (name, number)
        for version_id, name, number in await session.execute(
            select(ModelVersion.id, Model.name, ModelVersion.number)
            .join(Model, ModelVersion.model_id == Model.id)
            .where(ModelVersion.id.in_([row.version_id for row in rows]))
        )
    }
    wanted = select(Job).where(Job.id.in_([row.job_id for row in rows]))
    jobs = {job.id: job for job in await session.scalars(wanted)}
    return [_trace_read(row, *about[row.version_id], jobs[row.job_id]) for row in rows]


def _trace_read(row: OwnershipTrace, model: str, version: int, job: Job) -> TraceRead:
    return TraceRead(
        id=row.id,
        model=model,
        version=version,
        job_id=job.id,
        state=JobState(job.state),
        failure=job.failure,
        suspect_sha256=row.suspect_sha256,
        probe=ProbeKind(row.probe),
        draws=row.draws,
        students=row.students,
        found=None if row.found is None else [TracedStudent.model_validate(each) for each in row.found],
        created_at=row.created_at,
        finished_at=job.finished_at,
    )
