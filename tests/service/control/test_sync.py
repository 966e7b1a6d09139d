"""A change made by another process is seen within the poll interval, and by this one before its answer leaves."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from models import data
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from service.settings import Settings
from tests.service.asking import Caller, another_gateway, claims, labels, new_nonce, sample, until
from tests.service.conftest import Issue, SetClock, artefact_files

INTERVAL_S = 0.1  # the default


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"poll_interval_s": INTERVAL_S})


@pytest.fixture
async def other(settings: Settings, clock: SetClock, issue: Issue) -> AsyncIterator[FastAPI]:
    """A second gateway; the licenses are issued, suspended and so on at the first."""
    async with another_gateway(settings, clock) as app:
        yield app


async def told(app: FastAPI, secret: str, picture: bytes) -> str | None:
    code: str | None = (await Caller(app).predict([picture], secret)).json().get("code")
    return code


async def seconds_until(app: FastAPI, secret: str, picture: bytes, code: str | None) -> float:
    began = time.monotonic()

    async def seen() -> bool:
        return await told(app, secret, picture) == code

    await until(seen)
    return time.monotonic() - began


async def test_each_act_reaches_the_other_gateway_in_time(
    other: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
) -> None:
    issued, picture = await issue("key"), sample(digits)
    await Caller(other).predict([picture])  # its network is loaded

    async def known() -> bool:
        return labels(await Caller(other).predict([picture], issued.secret)) == [str(digits.test.labels[0])]

    await until(known)
    for verb, code in (("suspend", "SUSPENDED"), ("reinstate", None), ("revoke", "REVOKED")):
        assert (await admin.post(f"/v1/licenses/{issued.id}/{verb}")).status_code == 200
        # A poll, a query and a request, on a machine that others use too.
        assert await seconds_until(other, issued.secret, picture, code) < INTERVAL_S + 0.9


async def test_the_gateway_that_acts_knows_at_once(
    app: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
) -> None:
    issued = await issue("key")
    for verb, code in (("suspend", "SUSPENDED"), ("reinstate", None)) * 5:
        await admin.post(f"/v1/licenses/{issued.id}/{verb}")
        assert await told(app, issued.secret, sample(digits)) == code


async def test_a_new_version_and_its_fingerprints_reach_the_other_gateway(
    other: FastAPI, admin: httpx.AsyncClient, issue: Issue, artefact: Artefact, digits: data.Dataset
) -> None:
    assert (await admin.post("/v1/models", files=artefact_files(artefact))).status_code == 201
    issued = await issue("fingerprint")

    async def served() -> bool:
        nonce = new_nonce()
        session = (await Caller(other).show_fingerprint(issued.png, nonce=nonce)).json()
        return (claims(issued, nonce, session) or {}).get("version") == 2

    await until(served)
    assert (await Caller(other).predict([sample(digits)])).json()["version"] == 2


async def test_a_change_that_is_rolled_back_is_never_seen(
    app: FastAPI, gateway: Gateway, issue: Issue, digits: data.Dataset
) -> None:
    issued = await issue("key")
    async with gateway.sessions() as session:
        await session.execute(text("UPDATE counters SET value = value + 1"))
        await session.execute(text("UPDATE licenses SET status = 'revoked', revision = revision + 1000"))
        await session.rollback()
    await asyncio.sleep(3 * INTERVAL_S)
    assert await told(app, issued.secret, sample(digits)) is None


async def test_changes_made_at_once_are_all_seen(
    other: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
) -> None:
    """Revisions commit in the order of their numbers: no change falls between two looks."""
    issued = [await issue("key") for _ in range(8)]
    await asyncio.gather(*(admin.post(f"/v1/licenses/{one.id}/suspend") for one in issued))

    async def all_seen() -> bool:
        return {await told(other, one.secret, sample(digits)) for one in issued} == {"SUSPENDED"}

    await until(all_seen)
