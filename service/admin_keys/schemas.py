"""Administrators' keys on the wire."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from service.admin_keys.tables import Role


class AdminKeyCreate(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, json_schema_extra={"example": {"name": "Ada", "role": "issuer"}}
    )

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")
    role: Role


class AdminKeyRead(BaseModel):
    """A key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    public_id: str = Field(description="the part of the key before the dot, for recognising it")
    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None


class AdminKeyMinted(AdminKeyRead):
    """With the secret: shown this once."""

    key: str
