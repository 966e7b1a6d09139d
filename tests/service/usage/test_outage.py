"""While the database is away nothing is answered uncounted; when it is back all goes on, and nothing is lost."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from models import data
from service.gateway import Gateway
from tests.service.asking import Caller, sample, until, used
from tests.service.conftest import Issue
from tests.service.usage.outage import unreachable
from tests.service.usage.under_way import two_under_way


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestTheDatabaseGoesAwayAndComesBack:
    async def test_nobody_is_answered_uncounted_and_nobody_hangs(
        self,
        app: FastAPI,
        database_url: str,
        admin: httpx.AsyncClient,
        gateway: Gateway,
        issue: Issue,
        digits: data.Dataset,
    ) -> None:
        issued, picture, caller = await issue(quota=100), sample(digits), Caller(app)
        assert (await caller.predict([picture], issued.secret)).status_code == 200
        async with unreachable(database_url), asyncio.timeout(10):
            for _ in range(3):
                answer = await caller.predict([picture], issued.secret)
                assert (answer.status_code, answer.json()["code"]) == (503, "OVERLOADED")
            await asyncio.sleep(5 * gateway.settings.poll_interval_s)  # whatever looks regularly meets it too
        async with asyncio.timeout(10):
            assert (await caller.predict([picture], issued.secret)).status_code == 200
            assert await used(admin, issued) == 2
            assert (await admin.post(f"/v1/licenses/{issued.id}/suspend")).status_code == 200
            assert (await caller.predict([picture], issued.secret)).json()["code"] == "SUSPENDED"
        assert [task for task in gateway.tasks if task.done()] == [], "nothing that runs for good has died"

    async def test_what_could_not_be_settled_goes_back(
        self,
        app: FastAPI,
        database_url: str,
        admin: httpx.AsyncClient,
        gateway: Gateway,
        issue: Issue,
        digits: data.Dataset,
    ) -> None:
        """The answer did not leave, so nothing is charged: not until a restart, but as soon as it can be said."""
        issued, picture = await issue(quota=2), sample(digits)
        async with two_under_way(app, gateway, admin, issued, picture) as asking:
            away = unreachable(database_url)
            await away.__aenter__()
        assert (await asking).status_code == 503
        await away.__aexit__(None, None, None)

        async def given_back() -> bool:
            return await used(admin, issued) == 0

        await until(given_back)
        assert (await Caller(app).predict([picture] * 2, issued.secret)).status_code == 200
