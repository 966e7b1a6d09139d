"""Models are names; model versions are immutable artefacts with a state."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base


class UnauthorizedPolicy(StrEnum):
    """What an unproved caller gets."""

    DECOY = "decoy"
    DENY = "deny"


class VersionState(StrEnum):
    """`serving` answers requests that name no version; `ready` answers those that name it; `retired` none."""

    READY = "ready"
    SERVING = "serving"
    RETIRED = "retired"


class Model(Base):
    __tablename__ = "models"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    unauthorized_policy: Mapped[str] = mapped_column(String(16))
    revoked_policy: Mapped[str] = mapped_column(String(16))  # design: only REVOKED may be set to decoy
    unloaded: Mapped[bool] = mapped_column(default=False)  # out of memory on every gateway: it answers nobody
    created_at: Mapped[datetime]
    revision: Mapped[int] = mapped_column(index=True)


class ModelVersion(Base):
    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model_id", "number"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    manifest: Mapped[dict[str, Any]] = mapped_column(
        JSON
    )  # what is listed; the signed file beside the weights is what counts
    digest: Mapped[str] = mapped_column(
        String(64)
    )  # SHA-256 of the signed manifest, which fixes weights and calibration
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    revision: Mapped[int] = mapped_column(index=True)
