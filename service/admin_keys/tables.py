"""Administrators' keys, hashed."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base


class Role(StrEnum):
    """An owner may do everything, an issuer what concerns customers and licenses, an auditor only read."""

    OWNER = "owner"
    ISSUER = "issuer"
    AUDITOR = "auditor"


class AdminKey(Base):
    __tablename__ = "admin_keys"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    public_id: Mapped[str] = mapped_column(String(12), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    pepper_root: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
