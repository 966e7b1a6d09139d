"""Keeping the book level with the database.

Every transaction that changes what a verdict reads takes the next number of one counter and stamps its rows with it.
Whoever sees a higher number loads the rows above the last one: 100 ms after the commit at the latest in another
process, before the answer in this one.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from service.audit.tables import Counter
from service.catalogue.tables import Model, ModelVersion
from service.control.book import Book, CredentialRecord, LicenseRecord, ModelRecord, StudentRecord, VersionRecord
from service.licenses.stored import read_stored
from service.licenses.tables import Credential, License, LicenseStatus
from service.licenses.terms import Terms
from service.students.tables import Student, StudentState

log = structlog.get_logger(__name__)


class Sync:
    """Loads changes into the book; `watch` does so until cancelled. `looked` is called after every look."""

    def __init__(self, engine: AsyncEngine, book: Book, interval_s: float, looked: Callable[[], None]) -> None:
        self._engine = engine.execution_options(signet_reading=True)
        self._book = book
        self._interval_s = interval_s
        self._looked = looked
        self._seen = -1
        self._level_at = time.monotonic()
        self._lock = asyncio.Lock()

    @property
    def behind_s(self) -> float:
        """Seconds since the book was last known to be level with the database."""
        return time.monotonic() - self._level_at

    async def refresh(self) -> None:
        """Load what has changed since the last look."""
        async with self._lock, AsyncSession(self._engine) as session:
            current = await session.scalar(select(Counter.value).where(Counter.name == "store")) or 0
            if current > self._seen:
                await self._load_models(session)
                await self._load_licenses(session)
                self._seen = current
            self._looked()
            self._level_at = time.monotonic()

    async def try_refresh(self) -> None:
        """Refresh; whatever goes wrong is logged and left to the next look. Readiness tells if it stays so."""
        try:
            await self.refresh()
        except Exception as error:  # a watch that ends would leave revoked licenses alive
            log.warning("sync.refresh.failed", error=type(error).__name__, detail=str(error))

    async def watch(self) -> None:
        """Refresh every interval, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.try_refresh()

    async def _load_models(self, session: AsyncSession) -> None:
        changed = await session.scalar(
            select(Model.id).where(Model.revision > self._seen).union(
                select(ModelVersion.id).where(ModelVersion.revision > self._seen)
            ).limit(1)
        )  # fmt: skip
        if changed is None:
            return
        versions = (await session.scalars(select(ModelVersion).order_by(ModelVersion.number))).all()
        models = (await session.scalars(select(Model))).all()
        self._book.put_models(_model_record(model, versions) for model in models)

    async def _load_licenses(self, session: AsyncSession) -> None:
        licenses = await session.stream_scalars(select(License).where(License.revision > self._seen))
        async for license in licenses:
            self._book.put_license(_license_record(license))
        await self._load_students(session)  # before the numbers that they take
        credentials = await session.stream(
            select(Credential, License.model_id).join(License).where(License.revision > self._seen)
        )
        async for credential, model_id in credentials:
            self._book.put_credential(_credential_record(credential), credential.pepper_root, model_id)

    async def _load_students(self, session: AsyncSession) -> None:
        """Those of licenses that changed: a student that is ready changes its license."""
        changed = select(Credential.student_id).join(License).where(License.revision > self._seen)
        ready = select(Student).where(Student.id.in_(changed), Student.state == StudentState.READY)
        for student in await session.scalars(ready):
            self._book.put_student(_student_record(student))


def _model_record(model: Model, versions: Iterable[ModelVersion]) -> ModelRecord:
    own = {version.number: _version_record(model, version) for version in versions if version.model_id == model.id}
    strangers = LicenseRecord(model.id, model.id, LicenseStatus.ACTIVE, Terms(), 0, "", model.created_at, None)
    policies = model.unauthorized_policy, model.revoked_policy
    return ModelRecord(model.id, model.name, *policies, own, strangers, model.unloaded)


def _version_record(model: Model, row: ModelVersion) -> VersionRecord:
    return VersionRecord(row.id, model.name, row.number, row.state, bytes.fromhex(row.digest), *_listed(row))


def _listed(row: ModelVersion) -> tuple[int, int, bool]:
    """Numbers in one input, fingerprints a license may carry, and whether there are students."""
    try:
        size, longest = math.prod(row.manifest["input_spec"]["shape"]), int(row.manifest["fingerprints"]["longest"])
        return size, longest, row.manifest.get("serial_numbers") is not None
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # one row that we cannot read must not keep changes of the others from being seen
        log.error("sync.version.unreadable", version=row.id)
        return 0, 1, False


def _license_record(row: License) -> LicenseRecord:
    status, terms, unreadable = read_stored(row)
    if unreadable:  # what we cannot read we must not grant
        log.error("sync.license.unreadable", license=row.id, fields=unreadable)
        status = LicenseStatus.REVOKED if status == LicenseStatus.REVOKED else LicenseStatus.SUSPENDED
    return LicenseRecord(
        row.id,
        row.model_id,
        status,
        terms or Terms(),
        row.generation,
        row.ring_root,
        row.checked_in_at,
        row.revoked_at,
        row.suspended_at,
    )


def _credential_record(row: Credential) -> CredentialRecord:
    return CredentialRecord(
        row.license_id,
        row.kind,
        bytes(row.digest),
        row.model_version_id,
        row.output_slots,
        row.generation,
        row.ends_at,
        row.student_id,
    )


def _student_record(row: Student) -> StudentRecord:
    return StudentRecord(
        row.id,
        row.version_id,
        row.license_id,
        bytes(row.statement),
        row.issuer_key_id,
        row.digest or "",
        row.created_at,
    )
