"""Commitments and verifications on the wire."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from service.ownership.tables import Verdict

_STATEMENT = '{"format":1,"mark_hashes":["..."],"parameters":{"...":"..."},"reference_sha256":"..."}'


class CommitmentCreate(BaseModel):
    """What an owner states and signs, offline: `signet ownership commit` writes it."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"example": {"statement": _STATEMENT, "public_key": "A" * 43, "signature": "A" * 86}},
    )

    statement: str = Field(max_length=2**20, description="canonical JSON: parameters, reference, a hash for each mark")
    public_key: str = Field(max_length=100, description="the owner's Ed25519 key, base64url")
    signature: str = Field(max_length=100, description="Ed25519 over the statement, base64url")


class ReceiptRead(BaseModel):
    """That and when a statement was registered, signed by the issuer."""

    commitment: str
    statement_sha256: str
    public_key: str
    registered_at: str
    kid: str
    signature: str


class CommitmentRead(BaseModel):
    """A registered commitment: public in all its parts."""

    id: str
    model: str
    version: int
    statement: str
    statement_sha256: str
    public_key: str
    signature: str
    receipt: ReceiptRead
    registered_at: datetime
    opened_marks: list[int] = Field(description="marks that were opened for a suspect and verified")


class VerificationRead(BaseModel):
    """A suspect held against one mark."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    commitment_id: str
    mark: int
    verdict: Verdict
    matches: int
    log10_adjusted_p: float
    suspect_sha256: str
    suspect_known_since: datetime | None
    created_at: datetime


class VerificationDone(VerificationRead):
    """With the signed evidence, as text: its bytes are what the signature is over."""

    evidence: str
