"""Licenses and the credentials that prove them. A credential is a keyed hash; nothing here opens a session."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Dialect, ForeignKey, Index, LargeBinary, String, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base


class LicenseStatus(StrEnum):
    """`revoked` is final."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class CredentialKind(StrEnum):
    """What a caller shows."""

    FINGERPRINT = "fingerprint"
    KEY = "key"


class _Json(TypeDecorator[Any]):
    """JSON. What is none reads as None: one damaged row must not hide the rows beside it."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        decode = super().result_processor(dialect, coltype)

        def read(value: Any) -> Any:
            try:
                return decode(value) if decode else value
            except ValueError:
                return None

        return read


class License(Base):
    __tablename__ = "licenses"
    __table_args__ = (Index(None, "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("customers.id"), index=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), index=True)
    status: Mapped[str] = mapped_column(String(16))
    terms: Mapped[dict[str, Any]] = mapped_column(_Json)  # `stored.read_stored` reads them
    generation: Mapped[int]  # of the receipt key
    ring_root: Mapped[str] = mapped_column(String(32))  # the root its receipt key hangs on
    created_at: Mapped[datetime]
    checked_in_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    suspended_at: Mapped[datetime | None]  # of the suspension that holds; None when none does
    revision: Mapped[int] = mapped_column(index=True)


class Credential(Base):
    __tablename__ = "credentials"
    # A revoked license gives its output back: the slot becomes NULL, and NULLs do not collide.
    __table_args__ = (UniqueConstraint("model_version_id", "output_slot"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    license_id: Mapped[str] = mapped_column(ForeignKey("licenses.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    pepper_root: Mapped[str] = mapped_column(String(32))
    model_version_id: Mapped[str | None] = mapped_column(ForeignKey("model_versions.id"))  # a fingerprint's gatekeeper
    output_slot: Mapped[int | None]  # user number i T + j of section 2.4
    output_label: Mapped[int | None]
    output_confidence: Mapped[float | None]
    created_at: Mapped[datetime]
