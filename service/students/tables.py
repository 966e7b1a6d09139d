"""Students of a version: one that all its customers share, or one license's own."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base

_SHARED = "license_id IS NULL AND state IN ('pending', 'ready')"
_OWN = "state = 'pending'"


class StudentState(StrEnum):
    """`pending` until it is distilled; all others are final."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StudentKind(StrEnum):
    """Whose: this license's, or that of all of a version's that ask for it."""

    OWN = "own"
    SHARED = "shared"


class Student(Base):
    __tablename__ = "students"
    # A version has one shared student, a license at most one under way.
    __table_args__ = (
        Index(
            "uq_students_shared",
            "version_id",
            unique=True,
            sqlite_where=text(_SHARED),
            postgresql_where=text(_SHARED),
        ),
        Index("uq_students_pending", "license_id", unique=True, sqlite_where=text(_OWN), postgresql_where=text(_OWN)),
        Index(None, "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"), index=True)
    license_id: Mapped[str | None] = mapped_column(ForeignKey("licenses.id"), index=True)  # None: shared
    statement: Mapped[bytes] = mapped_column(LargeBinary)  # canonical; signed by the key below it gives its number
    issuer_key_id: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str | None] = mapped_column(String(64))  # SHA-256 of its signed manifest, which fixes its weights
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JSON)  # measured when it was made
    job_id: Mapped[str] = mapped_column(String(36), unique=True)
    failure: Mapped[str | None] = mapped_column(String(500))  # why there is none, in words for the issuer
    overlap_hours: Mapped[int]  # how long a credential that its license has already goes on once it is ready
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
