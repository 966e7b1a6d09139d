"""Dates at the edge of the calendar are refused when terms are made, not discovered when a licensee asks."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.clock import rfc3339
from service.licenses.terms import Terms
from tests.service import expect
from tests.service.standing import Standing


@settings(max_examples=200, deadline=None)
@given(st.datetimes(timezones=st.timezones()), st.integers(0, 366))
def test_whatever_is_accepted_can_be_reckoned_with(moment: datetime, grace: int) -> None:
    try:
        terms = Terms(expires_at=moment, grace_days=grace)
    except ValidationError:
        assert not 2000 <= moment.year < 9000
        return
    end = terms.ends_at()
    assert end is not None
    assert rfc3339(end.astimezone(UTC))
    assert terms.model_dump(mode="json")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ["expires_at", "not_before"])
@pytest.mark.parametrize(
    "moment",
    ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", 1e18, "2027-01-15T12:00:00"],
)
async def test_the_field_is_named(standing: Standing, name: str, moment: object) -> None:
    body = {"customer_id": "cus_" + "0" * 32, "model": "digits", "terms": {name: moment, "grace_days": 366}}
    expect.problem(await standing.owner.post("/v1/licenses", json=body), 422, "INVALID_INPUT", f"terms.{name}")
