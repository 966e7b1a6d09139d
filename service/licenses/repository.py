"""Statements about licenses."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import take_turn
from service.catalogue.tables import Model, ModelVersion
from service.errors import Conflict, NotFound
from service.licenses.schemas import CredentialRead, LicenseRead, StudentRead
from service.licenses.stored import read_stored
from service.licenses.tables import Credential, CredentialKind, License, LicenseStatus
from service.students.tables import Student, StudentKind, StudentState
from service.usage.tables import Account


def licenses(customer_id: str | None, model: str | None, status: LicenseStatus | None) -> Select[License]:
    """Licenses, narrowed by whichever is given."""
    statement = select(License)
    if customer_id is not None:
        statement = statement.where(License.customer_id == customer_id)
    if model is not None:
        statement = statement.join(Model, License.model_id == Model.id).where(Model.name == model)
    if status is not None:
        statement = statement.where(License.status == status)
    return statement


async def get_license_or_raise(session: AsyncSession, license_id: str, *, lock: bool = False) -> License:
    """The license of this id. Who locks it takes their turn first, as those do who end a job and then its licenses.

    Raises:
        NotFound
    """
    if lock:
        await take_turn(session)
    license = await session.get(License, license_id, with_for_update=lock or None)
    if license is None:
        raise NotFound("license_id", "no license of this id")
    return license


async def slots_taken(session: AsyncSession, version_id: str, now: datetime) -> set[tuple[int, ...]]:
    """The slots of fingerprints that authenticate on a version, license by license."""
    goes_on = or_(Credential.ends_at.is_(None), Credential.ends_at > now)
    has_slots = Credential.output_slots.is_not(None)  # serial numbers have none
    statement = select(Credential.output_slots).where(Credential.model_version_id == version_id, has_slots, goes_on)
    return set(await session.scalars(statement))


async def live_credential(session: AsyncSession, license_id: str) -> Credential:
    """The credential of a license that nothing has replaced.

    Raises:
        Conflict: there is none, as after a revocation.
    """
    statement = select(Credential).where(Credential.license_id == license_id, Credential.ends_at.is_(None))
    found = (await session.scalars(statement)).one_or_none()
    if found is None:
        raise Conflict("license_id", "the license has no live credential; issue a new license")
    return found


async def credentials_of(session: AsyncSession, license_id: str) -> Sequence[Credential]:
    """Every credential of a license."""
    return (await session.scalars(select(Credential).where(Credential.license_id == license_id))).all()


async def read(session: AsyncSession, rows: Sequence[License]) -> list[LicenseRead]:
    """Rows with model names, credentials and usage, in three queries however many they are."""
    ids = [row.id for row in rows]
    names = dict(iter(await session.execute(select(Model.id, Model.name))))
    accounts = await session.execute(select(Account.id, Account.used).where(Account.id.in_(ids)))
    used = dict(iter(accounts))
    credentials = defaultdict[str, list[CredentialRead]](list)
    found = await session.execute(
        select(Credential, ModelVersion.number, ModelVersion.manifest)
        .outerjoin(ModelVersion, Credential.model_version_id == ModelVersion.id)
        .where(Credential.license_id.in_(ids))
        .order_by(Credential.generation, Credential.id)
    )
    for credential, number, manifest in found:
        credentials[credential.license_id].append(
            CredentialRead(
                id=credential.id,
                kind=credential.kind,
                gatekeeper_version=number,
                code=_code(credential, manifest),
                fingerprints=len(credential.output_slots),
                created_at=credential.created_at,
                ends_at=credential.ends_at,
            )
        )
    wanted = [row.student_id for row in rows if row.student_id is not None]
    students = {student.id: student for student in await session.scalars(select(Student).where(Student.id.in_(wanted)))}
    return [
        _license_read(
            row, names[row.model_id], credentials[row.id], used.get(row.id, 0), students.get(row.student_id or "")
        )
        for row in rows
    ]


def _code(credential: Credential, manifest: dict[str, Any] | None) -> str | None:
    if credential.kind != CredentialKind.FINGERPRINT:
        return None
    return cast("str | None", (manifest or {}).get("fingerprints", {}).get("code"))


def _license_read(
    row: License, model: str, credentials: list[CredentialRead], used: int, student: Student | None
) -> LicenseRead:
    stored = read_stored(row)
    return LicenseRead(
        id=row.id,
        customer_id=row.customer_id,
        model=model,
        status=stored.status,
        terms=stored.terms,
        unreadable=stored.unreadable,
        credentials=credentials,
        used=used,
        generation=row.generation,
        created_at=row.created_at,
        checked_in_at=row.checked_in_at,
        revoked_at=row.revoked_at,
        suspended_at=row.suspended_at,
        student=None if student is None else student_read(student),
    )


def student_read(student: Student) -> StudentRead:
    """A student as an issuer sees it; neither its number nor its statement."""
    return StudentRead(
        id=student.id,
        kind=StudentKind.SHARED if student.license_id is None else StudentKind.OWN,
        state=StudentState(student.state),
        job_id=student.job_id,
        metrics=student.metrics,
        failure=student.failure,
        finished_at=student.finished_at,
    )
