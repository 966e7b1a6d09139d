"""A worker's reservations are its own while it shows that it lives, and nobody's afterwards."""

import asyncio
from datetime import timedelta

import httpx
from fastapi import FastAPI

from models import data
from service.gateway import Gateway
from service.settings import Settings
from tests.service.asking import Caller, another_gateway, network_held, sample, until, used
from tests.service.conftest import Issue, SetClock


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
        await Caller(app).predict([picture])
        async with network_held(gateway):
            late = asyncio.create_task(Caller(app).predict([picture] * 2, issued.secret))

            async def under_way() -> bool:
                return await used(admin, issued) == 2

            await until(under_way)
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
        await Caller(app).predict([picture])
        async with network_held(gateway):
            asking = asyncio.create_task(Caller(app).predict([picture] * 2, issued.secret))

            async def under_way() -> bool:
                return await used(admin, issued) == 2

            await until(under_way)
            async with another_gateway(settings, clock) as other:
                refused = await Caller(other).predict([picture], issued.secret)
                assert refused.json()["code"] == "QUOTA_EXCEEDED"
        assert (await asking).status_code == 200
