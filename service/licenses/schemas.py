"""Licenses on the wire."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.control.verdict import Code
from service.ids import CustomerId, ModelName
from service.licenses.tables import CredentialKind, LicenseStatus
from service.licenses.terms import Terms
from service.students.tables import StudentKind, StudentState


class LicenseCreate(BaseModel):
    """Whose, for what, proved how, under which terms."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={
            "example": {
                "customer_id": "cus_00000000000000000000000000000000",
                "model": "digits",
                "credential": "fingerprint",
                "terms": {"expires_at": "2027-12-31T00:00:00Z", "quota": 100000},
            }
        },
    )

    customer_id: CustomerId
    model: ModelName
    credential: CredentialKind = CredentialKind.FINGERPRINT
    student: StudentKind | None = Field(
        None, description="of a serial number: a student of its own, the default, or the one that the version shares"
    )
    terms: Terms = Terms()

    @model_validator(mode="after")
    def _student_of_a_number(self) -> Self:
        if self.student is not None and self.credential != CredentialKind.SERIAL_NUMBER:
            raise ValueError("student goes with the credential serial_number alone")
        return self


class LicenseReissue(BaseModel):
    """How long the credential that is replaced goes on."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"example": {"overlap_hours": 48}}
    )

    overlap_hours: int = Field(0, ge=0, le=24 * 366)


class CredentialRead(BaseModel):
    """That there is a credential, never what it is."""

    id: str
    kind: CredentialKind
    gatekeeper_version: int | None = Field(
        description="the version that a fingerprint was enrolled on, or that a serial number's student was made of"
    )
    code: str | None = Field(description="of a fingerprint's answers: codeword or confidence")
    fingerprints: int = Field(description="how many are shown, one after the other")
    created_at: datetime
    ends_at: datetime | None = Field(description="it was replaced, or the license revoked")


class StudentRead(BaseModel):
    """The student that takes a license's serial number."""

    id: str
    kind: StudentKind
    state: StudentState
    job_id: str = Field(description="see `/v1/jobs/{job_id}`")
    metrics: dict[str, float] | None = Field(description="measured when it was made")
    failure: str | None = Field(description="why there is none")
    finished_at: datetime | None


class LicenseRead(BaseModel):
    """A license and how much of it is used."""

    id: str
    customer_id: str
    model: str
    status: LicenseStatus
    terms: Terms | None = Field(description="null: they cannot be read, see `unreadable`")
    unreadable: list[str] = Field(
        [],
        description="stored fields that this release cannot read: while there are any, the license is refused as "
        "suspended, whatever its status",
    )
    credentials: list[CredentialRead]
    used: int = Field(description="images answered, or reserved for an answer under way")
    generation: int
    created_at: datetime
    checked_in_at: datetime
    revoked_at: datetime | None
    suspended_at: datetime | None = Field(description="since when it is suspended")
    student: StudentRead | None = Field(None, description="of a serial number")


class LicenseIssued(LicenseRead):
    """With the license file: shown this once, since neither fingerprint nor key is kept.

    A license that is pending has none yet: `/v1/licenses/{license_id}/file` has it as soon as its student is ready.
    """

    license_file: str | None


class VerdictRead(BaseModel):
    """What the gateway would say now; nothing is consumed."""

    code: Code
    in_grace: bool
    on: datetime | None
    limit: int | None
    retry_after: int | None
