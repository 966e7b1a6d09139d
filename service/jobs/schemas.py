"""Jobs on the wire."""

from datetime import datetime

from pydantic import BaseModel, Field

from service.jobs.tables import JobKind, JobState


class JobRead(BaseModel):
    """A job and how far it is."""

    id: str
    kind: JobKind
    subject: str = Field(description="what it is for; of a distillation, the student; of a trace, the trace")
    state: JobState
    step: str | None = Field(description="what it does now, or did last")
    done: int = Field(
        description="parts of the step that are done; of a distillation's batches, of a trace's groups of stamps"
    )
    total: int = Field(description="parts that the step has; 0: not known")
    failure: str | None = Field(description="why it failed")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
