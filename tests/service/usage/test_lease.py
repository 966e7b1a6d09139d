"""A worker's reservations are its own while it shows that it lives, and nobody's afterwards."""

from datetime import timedelta

import httpx
from fastapi import FastAPI

from models import data
from service.gateway import Gateway
from service.settings import Settings
from tests.service.asking import Caller, another_gateway, sample, used
from tests.service.conftest import Issue, SetClock
from tests.service.usage.under_way import two_under_way


class TestLease:
    async def test_a_paused_worker_does_not_answer_uncounted(
        self,
        app: FastAPI,
        settings: Settings,
        gateway: Gateway,
        clock: SetClock,
        issue: Issue,
        digits: data.Dataset,
        admin: httpx.AsyncClient,
    ) -> None:
        """Its lease ran out and another worker gave its units to somebody else: its answer must not leave."""
        issued, picture = await issue(quota=2), sample(digits)
        async with two_under_way(app, gateway, admin, issued, picture) as late:
            eleven_seconds_on = SetClock(clock.now + timedelta(seconds=11))
            async with another_gateway(settings, eleven_seconds_on) as other:
                assert other.state.gateway.metrics.released._value.get() == 2
                assert (await Caller(other).predict([picture] * 2, issued.secret)).status_code == 200
        answer = await late
        assert (answer.status_code, answer.json()["code"]) == (503, "OVERLOADED")
        assert answer.headers["Retry-After"] == "1"
        assert await used(admin, issued) == 2

    async def test_a_living_workers_units_stay_its_own(
        self,
        app: FastAPI,
        settings: Settings,
        gateway: Gateway,
        clock: SetClock,
        issue: Issue,
        digits: data.Dataset,
        admin: httpx.AsyncClient,
    ) -> None:
        issued, picture = await issue(quota=2), sample(digits)
        async with (
            two_under_way(app, gateway, admin, issued, picture) as asking,
            another_gateway(settings, clock) as other,
        ):
            refused = await Caller(other).predict([picture], issued.secret)
            assert refused.json()["code"] == "QUOTA_EXCEEDED"
        assert (await asking).status_code == 200
