"""Statements about commitments and verifications."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from service.catalogue.tables import Model, ModelVersion
from service.errors import NotFound
from service.ownership.schemas import CommitmentRead, ReceiptRead
from service.ownership.tables import OwnershipCommitment, OwnershipVerification, Verdict


def commitments(model: str | None) -> Select[OwnershipCommitment]:
    """Commitments, of one model or of all."""
    statement = select(OwnershipCommitment)
    if model is not None:
        statement = statement.join(Model, OwnershipCommitment.model_id == Model.id).where(Model.name == model)
    return statement


def verifications(commitment_id: str | None) -> Select[OwnershipVerification]:
    """Verifications, of one commitment or of all; without their evidence, which is long."""
    statement = select(OwnershipVerification).options(defer(OwnershipVerification.evidence))
    return statement if commitment_id is None else statement.where(OwnershipVerification.commitment_id == commitment_id)


async def get_commitment_or_raise(session: AsyncSession, commitment_id: str) -> OwnershipCommitment:
    """The commitment of this id.

    Raises:
        NotFound
    """
    row = await session.get(OwnershipCommitment, commitment_id)
    if row is None:
        raise NotFound("commitment_id", "no commitment of this id")
    return row


async def get_verification_or_raise(session: AsyncSession, verification_id: str) -> OwnershipVerification:
    """The verification of this id.

    Raises:
        NotFound
    """
    row = await session.get(OwnershipVerification, verification_id)
    if row is None:
        raise NotFound("verification_id", "no verification of this id")
    return row


async def get_version(session: AsyncSession, name: str, number: int) -> ModelVersion | None:
    """A model's version, in whatever state."""
    statement = select(ModelVersion).join(Model, ModelVersion.model_id == Model.id)
    return await session.scalar(statement.where(Model.name == name, ModelVersion.number == number))


async def count_openings(session: AsyncSession, commitment_id: str, mark: int, but: str) -> int:
    """How many verifications have shown this mark's key, those of the suspect with the SHA-256 `but` left out."""
    statement = select(func.count()).select_from(OwnershipVerification)
    own = OwnershipVerification.commitment_id == commitment_id, OwnershipVerification.mark == mark
    return await session.scalar(statement.where(*own, OwnershipVerification.suspect_sha256 != but)) or 0


async def count_commitments(session: AsyncSession) -> int:
    """How many are registered, whoever signed them: another key does not make another owner."""
    return await session.scalar(select(func.count()).select_from(OwnershipCommitment)) or 0


async def read_commitments(session: AsyncSession, rows: Sequence[OwnershipCommitment]) -> list[CommitmentRead]:
    """Rows with what they are about and which marks are opened, in two queries however many they are."""
    versions = await session.execute(
        select(ModelVersion.id, Model.name, ModelVersion.number)
        .join(Model, ModelVersion.model_id == Model.id)
        .where(ModelVersion.id.in_([row.version_id for row in rows]))
    )
    about = {version_id: (name, number) for version_id, name, number in versions}
    verified = await session.execute(
        select(OwnershipVerification.commitment_id, OwnershipVerification.mark)
        .where(OwnershipVerification.commitment_id.in_([row.id for row in rows]))
        .where(OwnershipVerification.verdict == Verdict.VERIFIED)
        .distinct()
    )
    opened = defaultdict[str, list[int]](list)
    for commitment_id, mark in verified:
        opened[commitment_id].append(mark)
    return [_commitment_read(row, *about[row.version_id], sorted(opened[row.id])) for row in rows]


def _commitment_read(row: OwnershipCommitment, model: str, version: int, opened: list[int]) -> CommitmentRead:
    return CommitmentRead(
        id=row.id,
        model=model,
        version=version,
        statement=row.statement.decode(),
        statement_sha256=row.statement_sha256,
        public_key=row.public_key,
        signature=row.signature,
        receipt=ReceiptRead.model_validate(row.receipt),
        registered_at=row.created_at,
        opened_marks=opened,
    )
