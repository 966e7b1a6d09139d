"""The terms of a license: what it allows, as data. `control.verdict` checks them, in a fixed order, against a request.

One model with optional fields rather than a class a condition: the verdict codes are a closed set with a fixed
precedence, and reads best as one table of rules (`control/verdict.py`) over plain data.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator


def _within_bounds(moment: datetime) -> datetime:
    """In UTC, and far enough from the ends of the calendar that days can be added."""
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment between 1970 and 2100 is wanted") from None
    if not 1970 <= moment.year < 2100:
        raise ValueError("a moment between 1970 and 2100 is wanted")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_within_bounds)]
Count = Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]  # beyond it JSON readers disagree
Days = Annotated[int, Field(strict=True, ge=1, le=3660)]
GraceDays = Annotated[int, Field(strict=True, ge=0, le=366)]


class Operation(StrEnum):
    """What a caller may ask for."""

    SESSION = "session"
    PREDICT = "predict"


class Terms(BaseModel):
    """Absent means unlimited."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    not_before: Moment | None = Field(None, description="first moment of validity")
    expires_at: Moment | None = Field(None, description="last moment of validity, before grace")
    grace_days: GraceDays = Field(0, description="days after `expires_at` that still count")
    check_in_days: Days | None = Field(None, description="the issuer must check the license in this often")
    versions: tuple[Count, ...] | None = Field(None, max_length=256, description="model versions allowed")
    operations: tuple[Operation, ...] = Field(tuple(Operation), max_length=8, description="operations allowed")
    networks: tuple[IPvAnyNetwork, ...] | None = Field(
        None, max_length=256, description="client networks allowed, CIDR"
    )
    max_images_per_request: Count | None = None
    quota: Count | None = Field(None, description="images in all")
    max_concurrency: Count | None = Field(None, description="requests under way at once")
    rate_per_minute: Count | None = Field(
        None, description="requests a minute, evenly spread, a minute's worth at once"
    )

    @model_validator(mode="after")
    def _dates_in_order(self) -> Self:
        if self.not_before and self.expires_at and self.not_before >= self.expires_at:
            raise ValueError("expires_at must be later than not_before")
        return self

    def ends_at(self) -> datetime | None:
        """The last moment of validity, grace included."""
        return self.expires_at + timedelta(days=self.grace_days) if self.expires_at else None
