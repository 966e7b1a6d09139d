"""Keeping the book level with the database.

Every transaction that changes what a verdict reads takes the next number of one counter and stamps its rows with it.
Whoever sees a higher number loads the rows above the last one: 100 ms after the commit at the latest in another
process, before the answer in this one.
"""

import asyncio
from collections.abc import Iterable

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from service.audit.tables import Counter
from service.catalogue.tables import Model, ModelVersion
from service.control.book import Book, CredentialRecord, LicenseRecord, ModelRecord, VersionRecord
from service.licenses.tables import Credential, License, LicenseStatus
from service.licenses.terms import Terms

log = structlog.get_logger(__name__)


class Sync:
    """Loads changes into the book; `watch` does so until cancelled."""

    def __init__(self, engine: AsyncEngine, book: Book, interval_s: float) -> None:
        self._engine = engine.execution_options(signet_reading=True)
        self._book = book
        self._interval_s = interval_s
        self._seen = -1
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Load what has changed since the last look."""
        async with self._lock, AsyncSession(self._engine) as session:
            current = await session.scalar(select(Counter.value).where(Counter.name == "store")) or 0
            if current <= self._seen:
                return
            await self._load_models(session)
            await self._load_licenses(session)
            self._seen = current

    async def watch(self) -> None:
        """Refresh every interval, until cancelled. A database that does not answer is logged, not fatal."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.refresh()
            except (SQLAlchemyError, OSError) as error:
                log.warning("sync.refresh.failed", error=type(error).__name__)

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
        credentials = await session.stream(
            select(Credential, License.model_id).join(License).where(License.revision > self._seen)
        )
        async for credential, model_id in credentials:
            self._book.put_credential(_credential_record(credential), credential.pepper_root, model_id)


def _model_record(model: Model, versions: Iterable[ModelVersion]) -> ModelRecord:
    own = {
        version.number: VersionRecord(
            version.id, model.name, version.number, version.state, bytes.fromhex(version.digest)
        )
        for version in versions
        if version.model_id == model.id
    }
    strangers = LicenseRecord(model.id, model.id, LicenseStatus.ACTIVE, Terms(), 0, "", model.created_at, None)
    return ModelRecord(model.id, model.name, model.unauthorized_policy, model.revoked_policy, own, strangers)


def _license_record(row: License) -> LicenseRecord:
    terms = Terms.model_validate(row.terms)
    return LicenseRecord(
        row.id, row.model_id, row.status, terms, row.generation, row.ring_root, row.checked_in_at, row.revoked_at
    )


def _credential_record(row: Credential) -> CredentialRecord:
    return CredentialRecord(
        row.license_id, row.kind, bytes(row.digest), row.model_version_id, row.output_label, row.output_confidence
    )
