"""Any date and any grace: what terms accept can be reckoned with for ever after, whatever the zone."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.clock import rfc3339
from service.licenses.terms import Terms


@settings(max_examples=150, deadline=None)
@given(st.datetimes(timezones=st.timezones()), st.integers(0, 366))
def test_whatever_is_accepted_can_be_reckoned_with(moment: datetime, grace: int) -> None:
    try:
        terms = Terms(expires_at=moment, grace_days=grace)
    except ValidationError:
        assert not 1971 < moment.year < 2099
        return
    end = terms.ends_at()
    assert end is not None
    assert rfc3339(end.astimezone(UTC))
    assert terms.model_dump(mode="json")
