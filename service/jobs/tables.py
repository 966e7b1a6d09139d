"""Jobs that outlive processes. This table says what is wanted and how far it is; the worker's workflows do it."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Base


class JobKind(StrEnum):
    """What a job does; `service.jobs.running` says how."""

    DISTILLATION = "distillation"
    TRACE = "trace"


class JobState(StrEnum):
    """`queued` and `running` end in one of the others, which are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN = (JobState.QUEUED, JobState.RUNNING)


class Job(Base):
    """Its row is written with what it is for, in one transaction: neither is ever there without the other."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "created_at", "id"), Index(None, "state"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(36))  # of a distillation: the student; of a trace: the trace
    state: Mapped[str] = mapped_column(String(16))
    step: Mapped[str | None] = mapped_column(String(32))
    done: Mapped[int]  # of `total` parts of the step
    total: Mapped[int]
    failure: Mapped[str | None] = mapped_column(String(500))  # in words for whoever asked for it
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
