"""A row that this release cannot read, a newer one's or a damaged one, is shown as such and is in nobody's way."""

import json

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from models import data
from service.audit.service import next_revision
from service.gateway import Gateway
from tests.service import expect
from tests.service.asking import Caller, labels, on_sqlite, sample, until
from tests.service.conftest import Issue, Issued

LICENSES = "/v1/licenses"


async def overwrite(gateway: Gateway, issued: Issued, column: str, value: str) -> None:
    """Put `value` into a license's row, as no route of this release does."""
    async with gateway.sessions.begin() as session:
        change = text(f"UPDATE licenses SET {column} = :value, revision = :revision WHERE id = :id")  # noqa: S608
        await session.execute(change, {"value": value, "revision": await next_revision(session), "id": issued.id})


ROWS = [
    pytest.param("terms", json.dumps({"quota": 10, "moon_phase": "full"}), ["terms.moon_phase"], id="a newer field"),
    pytest.param(
        "terms", json.dumps({"quota": -1, "grace_days": "x"}), ["terms.grace_days", "terms.quota"], id="values"
    ),
    pytest.param("terms", json.dumps([1]), ["terms"], id="a list"),
    pytest.param("terms", "null", ["terms"], id="null"),
    pytest.param("status", "paused", ["status"], id="a newer status"),
]


@pytest.mark.parametrize(("column", "value", "fields"), ROWS)
async def test_it_is_shown_refused_and_in_nobodys_way(
    column: str,
    value: str,
    fields: list[str],
    app: FastAPI,
    admin: httpx.AsyncClient,
    gateway: Gateway,
    issue: Issue,
    digits: data.Dataset,
) -> None:
    await check(column, value, fields, app, admin, gateway, issue, digits)


@on_sqlite  # PostgreSQL keeps what is no JSON out of the column
async def test_nor_is_one_that_is_not_even_json(
    app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
) -> None:
    await check("terms", '{"quota": 1', ["terms"], app, admin, gateway, issue, digits)


@on_sqlite
async def test_slots_that_are_none_keep_no_change_from_being_seen(
    app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue
) -> None:
    damaged, other = await issue("fingerprint"), await issue("fingerprint")
    async with gateway.sessions.begin() as session:
        await session.execute(
            text("UPDATE credentials SET output_slots = '1,x' WHERE license_id = :id"), {"id": damaged.id}
        )
    await admin.post(f"{LICENSES}/{damaged.id}/suspend")
    assert (await admin.post(f"{LICENSES}/{other.id}/reissue")).status_code == 201
    assert (await Caller(app).show_fingerprint(other.png)).json()["code"] == "REVOKED"
    assert (await Caller(app).show_fingerprint(damaged.png)).json()["code"] == "SUSPENDED"
    listed = {one["id"]: one for one in (await admin.get(LICENSES)).json()["items"]}
    assert listed[damaged.id]["credentials"][0]["fingerprints"] == 0


async def check(
    column: str,
    value: str,
    fields: list[str],
    app: FastAPI,
    admin: httpx.AsyncClient,
    gateway: Gateway,
    issue: Issue,
    digits: data.Dataset,
) -> None:
    strange, plain = await issue(quota=5), await issue(quota=5)
    await overwrite(gateway, strange, column, value)

    async def refused() -> bool:
        return (await Caller(app).predict([sample(digits)], strange.secret)).status_code == 403

    await until(refused)
    expect.problem(await Caller(app).predict([sample(digits)], strange.secret), 403, "SUSPENDED")

    listed = (await admin.get(LICENSES)).json()["items"]
    assert {one["id"]: one["unreadable"] for one in listed} == {strange.id: fields, plain.id: []}
    shown = (await admin.get(f"{LICENSES}/{strange.id}")).json()
    assert shown in listed
    if column == "terms":
        assert (shown["terms"], shown["status"]) == (None, "active")
    else:
        assert (shown["terms"]["quota"], shown["status"]) == (5, "suspended")
    assert (await admin.get(f"{LICENSES}/{strange.id}/verdict")).json()["code"] == "SUSPENDED"

    assert labels(await Caller(app).predict([sample(digits)], plain.secret)) == [str(digits.test.labels[0])]
    assert (await admin.post(f"{LICENSES}/{plain.id}/revoke")).status_code == 200
    expect.problem(await Caller(app).predict([sample(digits)], plain.secret), 403, "REVOKED")
    assert gateway.ailing() is None


@on_sqlite
async def test_it_can_be_revoked_and_stays_so(
    app: FastAPI, admin: httpx.AsyncClient, gateway: Gateway, issue: Issue, digits: data.Dataset
) -> None:
    strange = await issue()
    await overwrite(gateway, strange, "terms", '{"moon_phase": "full"}')
    answer = await admin.post(f"{LICENSES}/{strange.id}/revoke")
    assert (answer.status_code, answer.json()["status"], answer.json()["terms"]) == (200, "revoked", None)
    expect.problem(await Caller(app).predict([sample(digits)], strange.secret), 403, "REVOKED")


@on_sqlite
async def test_of_a_status_that_only_a_newer_release_knows_all_one_can_do_is_revoke(
    admin: httpx.AsyncClient, gateway: Gateway, issue: Issue
) -> None:
    strange = await issue()
    await overwrite(gateway, strange, "status", "paused")
    for act in ("suspend", "reinstate"):
        answer = await admin.post(f"{LICENSES}/{strange.id}/{act}")
        assert answer.status_code == 409
        assert "revoke it, or upgrade" in answer.json()["detail"]
    assert (await admin.post(f"{LICENSES}/{strange.id}/revoke")).json()["status"] == "revoked"
    assert "final" in (await admin.post(f"{LICENSES}/{strange.id}/suspend")).json()["detail"]
