"""Customers on the wire."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class CustomerCreate(BaseModel):
    """Who the license will be for."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        str_strip_whitespace=True,
        json_schema_extra={"example": {"name": "Acme Optics", "email": "licensing@acme.example"}},
    )

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")
    email: str | None = Field(None, max_length=320, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$")


class CustomerRead(BaseModel):
    """A customer."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    email: str | None
    created_at: datetime
