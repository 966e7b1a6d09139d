"""Statements about students."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.errors import NotFound
from service.licenses.tables import License, LicenseStatus
from service.students.tables import Student, StudentState

LIVE = (StudentState.PENDING, StudentState.READY)


async def get_student_or_raise(session: AsyncSession, student_id: str) -> Student:
    """The student of this id.

    Raises:
        NotFound
    """
    student = await session.get(Student, student_id)
    if student is None:
        raise NotFound("student_id", "no student of this id")
    return student


async def shared_student(session: AsyncSession, version_id: str) -> Student | None:
    """The student that a version's customers share, ready or on its way."""
    of_version = (Student.version_id == version_id) & Student.license_id.is_(None)
    return await session.scalar(select(Student).where(of_version, Student.state.in_(LIVE)))


async def pending_student(session: AsyncSession, license_id: str) -> Student | None:
    """The student that is being made for a license."""
    is_pending = Student.state == StudentState.PENDING
    return await session.scalar(select(Student).where(Student.license_id == license_id, is_pending))


async def ready_students(session: AsyncSession, version_id: str, most: int) -> Sequence[Student]:
    """The latest students of a version that are ready."""
    statement = select(Student).where(Student.version_id == version_id, Student.state == StudentState.READY)
    return (await session.scalars(statement.order_by(Student.created_at.desc(), Student.id).limit(most))).all()


async def waiting_licenses(session: AsyncSession, student: Student) -> Sequence[License]:
    """Licenses for which a student is, or was to be: locked, oldest first; revoked ones left out."""
    of_student = (License.student_id == student.id) & (License.status != LicenseStatus.REVOKED)
    statement = select(License).where(of_student).order_by(License.created_at, License.id)
    return (await session.scalars(statement.with_for_update())).all()
