"""Commitments and verifications. Of a mark nothing is kept but its hash, until the owner opens it; of a suspect nothing
but its digest."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, Double, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base


class Verdict(StrEnum):
    """What an evidence document says in the end."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not verified"


class OwnershipCommitment(Base):
    """A statement that an owner signed and we registered; `created_at` is when."""

    __tablename__ = "ownership_commitments"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"))
    statement: Mapped[bytes] = mapped_column(LargeBinary)  # canonical JSON, as it was signed
    statement_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    public_key: Mapped[str] = mapped_column(String(43))  # the owner's, Ed25519 in base64url
    signature: Mapped[str] = mapped_column(String(86))
    receipt: Mapped[dict[str, str]] = mapped_column(JSON)
    created_at: Mapped[datetime]


class OwnershipVerification(Base):
    """A suspect held against a mark, and the signed evidence of it."""

    __tablename__ = "ownership_verifications"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    commitment_id: Mapped[str] = mapped_column(ForeignKey("ownership_commitments.id"), index=True)
    mark: Mapped[int]
    verdict: Mapped[str] = mapped_column(String(16))
    matches: Mapped[int]
    log10_adjusted_p: Mapped[float] = mapped_column(Double)
    suspect_sha256: Mapped[str] = mapped_column(String(64))
    suspect_known_since: Mapped[datetime | None]  # as the owner says
    evidence: Mapped[bytes] = mapped_column(LargeBinary)  # canonical JSON, as it was signed; holds the opened key
    created_at: Mapped[datetime]
