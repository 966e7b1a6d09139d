"""What runs for good goes on whatever it meets, and readiness tells when it does not."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from models import data
from service.audit.service import next_revision
from service.control import sync
from service.gateway import Gateway
from service.licenses.tables import License
from service.usage import ledger
from service.usage.refusals import Refusals
from tests.service import expect
from tests.service.asking import Caller, on_sqlite, sample, until
from tests.service.conftest import Issue, Issued
from tests.service.usage.outage import unreachable


def stumble(*_: Any, **__: Any) -> None:
    raise RuntimeError("not an error of the database")


async def write_as_a_newer_release(gateway: Gateway, issued: Issued) -> None:
    """Terms with a field that this release does not know."""
    async with gateway.sessions.begin() as session:
        revision = await next_revision(session)
        terms = {"quota": 10, "moon_phase": "full"}
        await session.execute(update(License).where(License.id == issued.id).values(terms=terms, revision=revision))


class TestSync:
    async def test_a_license_that_cannot_be_read_is_suspended_and_the_others_are_seen(
        self, app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
    ) -> None:
        strange, plain = await issue(), await issue()
        await write_as_a_newer_release(gateway, strange)

        async def refused() -> bool:
            return (await Caller(app).predict([sample(digits)], strange.secret)).status_code == 403

        await until(refused)
        answer = await Caller(app).predict([sample(digits)], strange.secret)
        expect.problem(answer, 403, "SUSPENDED")
        assert (await admin.post(f"/v1/licenses/{plain.id}/revoke")).status_code == 200
        expect.problem(await Caller(app).predict([sample(digits)], plain.secret), 403, "REVOKED")
        assert gateway.ailing() is None

    @on_sqlite
    async def test_it_goes_on_after_any_error(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(sync.Sync, "_load_models", stumble)
            gateway.sync._seen = -1
            await asyncio.sleep(5 * gateway.settings.poll_interval_s)
            assert gateway.sync._seen == -1
        await asyncio.sleep(5 * gateway.settings.poll_interval_s)
        assert gateway.sync._seen >= 0

    @on_sqlite
    async def test_an_act_that_is_committed_is_no_error_when_the_book_cannot_be_read(
        self, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(sync.Sync, "refresh", stumble)
            assert (await admin.post("/v1/customers", json={"name": "Acme"})).status_code == 201


@on_sqlite
class TestReadiness:
    async def test_a_book_that_is_old_is_not_ready(
        self, gateway: Gateway, stranger: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert (await stranger.get("/v1/health/ready")).status_code == 200
        monkeypatch.setattr(sync.Sync, "refresh", stumble)
        gateway.sync._level_at -= 11
        expect.problem(await stranger.get("/v1/health/ready"), 503, "OVERLOADED")

    @pytest.mark.parametrize("which", range(5))
    async def test_a_task_that_ended_is_not_ready(
        self, gateway: Gateway, stranger: httpx.AsyncClient, which: int
    ) -> None:
        assert (await stranger.get("/v1/health/ready")).status_code == 200
        task = [*gateway.tasks, *gateway.ledger.tasks, *gateway.batcher.tasks][which]
        task.cancel()
        await asyncio.wait([task])  # it may be in the middle of a query
        expect.problem(await stranger.get("/v1/health/ready"), 503, "OVERLOADED")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_database_that_is_away_is_told_as_such(
    stranger: httpx.AsyncClient, admin: httpx.AsyncClient, gateway: Gateway, database_url: str
) -> None:
    async with unreachable(database_url):
        for answer in (
            await stranger.get("/v1/health/ready"),
            await admin.get("/v1/customers"),
            await admin.post("/v1/customers", json={"name": "Acme"}),
        ):
            assert "database" in expect.problem(answer, 503, "OVERLOADED")["detail"]
    assert (await admin.post("/v1/customers", json={"name": "Acme"})).status_code == 201


@on_sqlite
class TestCounting:
    async def test_it_goes_on_after_any_error(
        self, app: FastAPI, gateway: Gateway, issue: Issue, digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issued = await issue(quota=5)
        with monkeypatch.context() as patched:
            patched.setattr(ledger.Ledger, "_post", stumble)
            expect.problem(await Caller(app).predict([sample(digits)], issued.secret), 503, "OVERLOADED")
        assert (await Caller(app).predict([sample(digits)], issued.secret)).status_code == 200

    async def test_a_flush_that_is_stopped_loses_no_count(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gateway.refusals.count("digits", "NOT_FOUND", "192.0.2.1")

        def stop(*_: Any) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as patched:
            patched.setattr(type(gateway.counting), "begin", stop)
            with pytest.raises(asyncio.CancelledError):
                await gateway.refusals.flush()
        assert sum(gateway.refusals._counts.values()) == 1

    async def test_flushing_goes_on_after_any_error(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        refusals = Refusals(gateway.counting, gateway.clock, 0.01)
        refusals.count("digits", "NOT_FOUND", "192.0.2.1")
        flushing = asyncio.create_task(refusals.keep_flushing())
        with monkeypatch.context() as patched:
            patched.setattr(type(gateway.counting), "begin", stumble)
            await asyncio.sleep(0.05)
        assert not flushing.done()

        async def written() -> bool:
            return not refusals._counts

        await until(written)
        flushing.cancel()
