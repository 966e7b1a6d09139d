"""Counting: one account a license and one a model for all strangers, reservations by worker, refusals by minute."""

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base


class Account(Base):
    """Units used: answered, or reserved for an answer under way."""

    __tablename__ = "usage_accounts"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)  # a license's id, or a model's for its strangers
    quota: Mapped[int | None] = mapped_column(BigInteger)
    used: Mapped[int] = mapped_column(BigInteger)


class Reservation(Base):
    """Units a worker has reserved and not yet settled; released when its lease runs out."""

    __tablename__ = "usage_reservations"

    worker_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    units: Mapped[int] = mapped_column(BigInteger)


class Worker(Base):
    """A living process that reserves."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    lease_until: Mapped[datetime]


class RefusalCount(Base):
    """How often a verdict other than VALID was given, per minute and network prefix (never a whole address)."""

    __tablename__ = "refusal_counts"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(63), primary_key=True)
    code: Mapped[str] = mapped_column(String(32), primary_key=True)
    network: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
