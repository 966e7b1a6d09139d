"""Counting by reserve and settle, on both databases: exact whatever happens between the two."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, func, select

from models import data
from service.gateway import Gateway
from service.inference import engine
from service.settings import Settings
from service.usage.tables import Reservation
from tests.service.asking import Caller, another_gateway, network_held, on_sqlite, sample, until, used
from tests.service.conftest import Issue, SetClock


async def reserved(gateway: Gateway) -> int:
    """Units that are reserved and not yet settled, whoever's."""
    async with gateway.sessions() as session:
        return await session.scalar(select(func.coalesce(func.sum(Reservation.units), 0))) or 0


async def ask_until_nothing_fits(app: FastAPI, picture: bytes, secret: str, sizes: tuple[int, ...]) -> int:
    """How many images one caller is answered who asks for fewer at once when refused."""
    caller, answered, sizes = Caller(app), 0, tuple(sizes)
    while sizes:
        answer = await caller.predict([picture] * sizes[0], secret)
        if answer.status_code == 200:
            answered += len(answer.json()["predictions"])
        else:
            assert answer.json()["code"] == "QUOTA_EXCEEDED", answer.text
            sizes = sizes[1:]
    return answered


class TestQuota:
    async def test_fifty_callers_on_a_quota_of_1000_are_answered_exactly_1000(
        self, app: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue(quota=1000)
        answered = await asyncio.gather(
            *(ask_until_nothing_fits(app, sample(digits), issued.secret, (11, 7 - i % 3, 3, 1)) for i in range(50))
        )
        assert sum(answered) == 1000
        assert await used(admin, issued) == 1000
        assert await reserved(gateway) == 0

    async def test_two_gateways_on_one_database_share_a_quota_exactly(
        self,
        app: FastAPI,
        settings: Settings,
        clock: SetClock,
        admin: httpx.AsyncClient,
        issue: Issue,
        digits: data.Dataset,
    ) -> None:
        issued = await issue(quota=200)
        async with another_gateway(settings, clock) as other:
            answered = await asyncio.gather(
                *(
                    ask_until_nothing_fits(either, sample(digits), issued.secret, (5, 3, 1))
                    for either in (app, other)
                    for _ in range(8)
                )
            )
            assert sum(answered) == 200
            assert sum(answered[:8]) > 0 < sum(answered[8:]), "both answered some"
            assert await used(admin, issued) == 200

    async def test_a_request_that_does_not_fit_is_refused_whole(
        self, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued, picture, caller = await issue(quota=5), sample(digits), Caller(app)
        story = [(3, 200, 3), (3, 429, 3), (2, 200, 5), (1, 429, 5)]
        for images, status, after in story:
            answer = await caller.predict([picture] * images, issued.secret)
            assert (answer.status_code, await used(admin, issued)) == (status, after)

    async def test_a_stranger_pays_from_the_models_own_account(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue(quota=1)
        assert (await Caller(app).predict([sample(digits)] * 4)).status_code == 200
        assert (await used(admin, issued), await reserved(gateway)) == (0, 0)


class TestWhatIsNotAnsweredIsNotCharged:
    async def test_a_forward_pass_that_fails(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        gateway: Gateway,
        issue: Issue,
        digits: data.Dataset,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        issued = await issue(quota=2, rate_per_minute=1, max_concurrency=1)

        def fail(*_: Any) -> None:
            raise RuntimeError("a network that fails")

        with monkeypatch.context() as patched:
            patched.setattr(engine.Loaded, "answer", fail)
            for _ in range(3):
                answer = await Caller(app).predict([sample(digits)] * 2, issued.secret)
                assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
                assert "a network that fails" not in answer.text
        assert (await used(admin, issued), await reserved(gateway)) == (0, 0)
        assert (await Caller(app).predict([sample(digits)] * 2, issued.secret)).status_code == 200

    async def test_a_caller_who_leaves_while_the_network_works(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue(quota=3, max_concurrency=1)
        await Caller(app).predict([sample(digits)])  # the network is loaded
        async with network_held(gateway):
            asking = asyncio.create_task(Caller(app).predict([sample(digits)] * 3, issued.secret))

            async def under_way() -> bool:
                return await used(admin, issued) == 3

            await until(under_way)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            assert (await used(admin, issued), await reserved(gateway)) == (0, 0)
        assert (await Caller(app).predict([sample(digits)] * 3, issued.secret)).status_code == 200

    async def test_callers_who_leave_at_any_moment(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        issued, answered = await issue(quota=10_000), 0
        await Caller(app).predict([sample(digits)], issued.secret)
        for moment in range(40):
            asking = asyncio.create_task(Caller(app).predict([sample(digits)] * 2, issued.secret))
            await asyncio.sleep(moment * 0.0005)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                answered += len((await asking).json()["predictions"])

        async def settled() -> bool:
            return await reserved(gateway) == 0

        await until(settled)
        assert (await Caller(app).predict([sample(digits)], issued.secret)).status_code == 200
        counted = await used(admin, issued) - 2
        assert answered <= counted <= 80
        assert gateway.limits._under_way == {}, "every place came back"


class TestGrouping:
    """Calls that wait together are counted in one transaction, each with an outcome of its own."""

    @asynccontextmanager
    async def commits(self, gateway: Gateway) -> AsyncIterator[list[object]]:
        seen: list[object] = []

        def note(connection: object) -> None:
            seen.append(connection)

        event.listen(gateway.counting.sync_engine, "commit", note)
        yield seen
        event.remove(gateway.counting.sync_engine, "commit", note)

    async def test_fifty_calls_take_two_transactions(self, gateway: Gateway, issue: Issue) -> None:
        issued = await issue(quota=50)
        async with self.commits(gateway) as seen:
            taken = await asyncio.gather(*(gateway.ledger.reserve(issued.id, 1) for _ in range(50)))
        assert taken == [True] * 50
        assert len(seen) <= 2

    async def test_a_group_that_does_not_fit_is_taken_one_by_one(
        self, gateway: Gateway, issue: Issue, admin: httpx.AsyncClient
    ) -> None:
        issued, other = await issue(quota=10), await issue(quota=3)
        asked = [(issued.id, 4), (other.id, 3), (issued.id, 7), (issued.id, 4), (other.id, 1), (issued.id, 2)]
        taken = await asyncio.gather(*(gateway.ledger.reserve(account, units) for account, units in asked))
        assert taken == [True, True, False, True, False, True]
        assert (await used(admin, issued), await used(admin, other)) == (10, 3)

    async def test_what_frees_units_comes_before_what_takes_them(self, gateway: Gateway, issue: Issue) -> None:
        issued = await issue(quota=5)
        assert await gateway.ledger.reserve(issued.id, 5)
        taken, _ = await asyncio.gather(gateway.ledger.reserve(issued.id, 5), gateway.ledger.release(issued.id, 5))
        assert taken

    async def test_more_than_was_reserved_cannot_be_settled(self, gateway: Gateway, issue: Issue) -> None:
        issued = await issue(quota=5)
        await gateway.ledger.reserve(issued.id, 2)
        settled = await asyncio.gather(*(gateway.ledger.settle(issued.id, units) for units in (2, 1)))
        assert settled == [True, False]

    async def test_nobody_reserves_on_an_account_that_is_not_there(self, gateway: Gateway) -> None:
        assert not await gateway.ledger.reserve("lic_" + "0" * 32, 1)
        assert not await gateway.ledger.fits("lic_" + "0" * 32, 1)


@on_sqlite
async def test_the_usage_is_not_the_customers_to_see(app: FastAPI, issue: Issue) -> None:
    issued = await issue(quota=5)
    answer = await Caller(app).http.get(f"/v1/licenses/{issued.id}", headers=issued.bearer)
    assert answer.status_code == 401
