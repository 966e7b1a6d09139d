"""Traces on the wire."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from service.jobs.tables import JobState


class ProbeKind(StrEnum):
    """On what inputs a suspect was asked: the version's calibration inputs, or ones that came with the suspect."""

    CALIBRATION = "calibration"
    UPLOADED = "uploaded"


class TracedStudent(BaseModel):
    """A student that the suspect was made from, or may have been."""

    student_id: str
    license_id: str | None = Field(description="whose student it is; null: the one that customers share")
    customer_id: str | None
    customer_name: str | None
    finding: str = Field(description="named: at 1e-6 after every correction; indicated: at 1 %, which accuses nobody")
    accuracy: float = Field(description="of the suspect on the probe, with this student's stamp")
    log10_p_stamp: float
    log10_p_mark: float
    log10_adjusted_p: float
    disclosed: bool = Field(description="whether the evidence gives its number and its mark's key away")
    advice: str | None = Field(description="what to do about that")


class TraceRead(BaseModel):
    """A suspect held against a version's students; `found` is null until that is done."""

    id: str
    model: str
    version: int
    job_id: str
    state: JobState
    failure: str | None
    suspect_sha256: str
    probe: ProbeKind
    draws: int = Field(description="random numbers")
    students: int | None = Field(description="that the suspect was held against")
    found: list[TracedStudent] | None = Field(description="the likeliest first; empty: nobody is named")
    created_at: datetime
    finished_at: datetime | None
