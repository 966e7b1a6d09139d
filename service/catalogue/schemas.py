"""Models and versions on the wire."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from service.catalogue.tables import UnauthorizedPolicy, VersionState


class VersionRead(BaseModel):
    """One immutable version."""

    version: int
    state: VersionState
    network: str
    input_spec: dict[str, Any]
    output_spec: dict[str, Any]
    fingerprints: dict[str, Any] = Field(
        description="code, confidences (null: the whole band), tolerance, and how many a license may carry"
    )
    metrics: dict[str, float] = Field(description="what its owner measured")
    weights_sha256: str
    serial_numbers: dict[str, Any] | None = Field(
        None, description="how students are made: stamp layout, network, distillation; null: it has none"
    )
    digest: str = Field(description="SHA-256 of the signed manifest")
    created_at: datetime
    retired_at: datetime | None


class ModelRead(BaseModel):
    """A model and its versions."""

    name: str
    unauthorized_policy: UnauthorizedPolicy
    revoked_policy: UnauthorizedPolicy
    unloaded: bool = Field(description="out of memory: it answers nobody until it is loaded again")
    created_at: datetime
    versions: list[VersionRead]
