"""Licenses and the credentials that prove them. A credential is a keyed hash; nothing here opens a session."""

import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Dialect, ForeignKey, Index, LargeBinary, String, TypeDecorator, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base

_SLOTS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")


class LicenseStatus(StrEnum):
    """`pending`: its student is not distilled yet. `revoked` is final."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class CredentialKind(StrEnum):
    """What a caller shows."""

    FINGERPRINT = "fingerprint"
    KEY = "key"
    SERIAL_NUMBER = "serial_number"


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


class _Slots(TypeDecorator[tuple[int, ...]]):
    """Whole numbers, with commas between; NULL for none. What cannot be read is none, as above."""

    impl = String(200)
    cache_ok = True

    def process_bind_param(self, value: tuple[int, ...] | None, dialect: Dialect) -> str | None:
        return ",".join(map(str, value or ())) or None

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[int, ...]:
        return tuple(map(int, value.split(","))) if value and _SLOTS.fullmatch(value) else ()


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
    # Of a serial number: the student that was made for it last. No constraint: a student of its own points back.
    student_id: Mapped[str | None] = mapped_column(String(36), index=True)
    revision: Mapped[int] = mapped_column(index=True)


class Credential(Base):
    __tablename__ = "credentials"
    # What has ended gives its output back.
    __table_args__ = (
        Index(
            "uq_credentials_live_output",
            "model_version_id",
            "output_slots",
            unique=True,
            sqlite_where=text("ends_at IS NULL"),
            postgresql_where=text("ends_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    license_id: Mapped[str] = mapped_column(ForeignKey("licenses.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    pepper_root: Mapped[str] = mapped_column(String(32))
    model_version_id: Mapped[str | None] = mapped_column(
        ForeignKey("model_versions.id")
    )  # a fingerprint's gatekeeper; a student's
    output_slots: Mapped[tuple[int, ...]] = mapped_column(_Slots, nullable=True)  # each i T + j of section 2.4
    # Of a serial number: what the issuer signed, by which key, and the student that takes it. Signed again it gives
    # the number, which is not kept.
    statement: Mapped[bytes | None] = mapped_column(LargeBinary)
    issuer_key_id: Mapped[str | None] = mapped_column(String(32))
    student_id: Mapped[str | None] = mapped_column(ForeignKey("students.id"), index=True)
    generation: Mapped[int]  # of the receipt key that went with it
    created_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]  # it was replaced, or its license revoked
