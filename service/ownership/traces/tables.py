"""Traces. Of a suspect nothing is kept once its job has ended but its digest."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base


class OwnershipTrace(Base):
    """A suspect held against all students of a version; its job says how far that is. None: not found out yet."""

    __tablename__ = "ownership_traces"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    suspect_sha256: Mapped[str] = mapped_column(String(64))
    probe: Mapped[str] = mapped_column(String(16))
    draws: Mapped[int]
    students: Mapped[int | None]  # that it was held against
    found: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)  # whom it names or points to
    evidence: Mapped[bytes | None] = mapped_column(LargeBinary)  # canonical JSON, as signed; holds disclosed numbers
    created_at: Mapped[datetime]
