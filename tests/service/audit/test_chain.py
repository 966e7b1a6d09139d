"""Every admin act leaves a row, chained to the one before; whoever changes one is found."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.service import first_broken_link
from service.audit.tables import AuditEvent
from service.catalogue.artefacts import Artefact
from service.gateway import Gateway
from tests.service import expect
from tests.service.catalogue import uploads
from tests.service.conftest import Issue

Tamper = Callable[[AsyncSession], Awaitable[Any]]


async def log_of(admin: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The whole audit log."""
    items: list[dict[str, Any]] = (await admin.get("/v1/audit", params={"limit": 200})).json()["items"]
    return items


async def broken(gateway: Gateway) -> int | None:
    """Where the chain breaks."""
    async with gateway.sessions() as session:
        return await first_broken_link(session)


async def test_every_act_has_its_row_and_nothing_else_has(
    admin: httpx.AsyncClient, stranger: httpx.AsyncClient, gateway: Gateway, issue: Issue, artefact: Artefact
) -> None:
    license = await issue("fingerprint")
    await uploads.upload(admin, artefact)
    await admin.post("/v1/models/digits/versions/2/retire")
    for act in ("suspend", "suspend", "reinstate", "check-in", "revoke", "revoke"):
        await admin.post(f"/v1/licenses/{license.id}/{act}")
    minted = (await admin.post("/v1/admin-keys", json={"name": "Ada Lovelace", "role": "auditor"})).json()
    await admin.post(f"/v1/admin-keys/{minted['id']}/revoke")
    rows = await log_of(admin)
    assert [(row["action"], row["subject"]) for row in rows] == [
        ("admin_key.minted", rows[0]["subject"]),
        ("model.version.added", "model:digits"),
        ("customer.added", rows[2]["subject"]),
        ("license.issued", license.id),
        ("model.version.added", "model:digits"),
        ("model.version.retired", "model:digits"),
        ("license.suspended", license.id),
        ("license.reinstated", license.id),
        ("license.checked_in", license.id),
        ("license.revoked", license.id),
        ("admin_key.minted", minted["id"]),
        ("admin_key.revoked", minted["id"]),
    ]
    assert {row["actor"] for row in rows[1:]} == {rows[0]["subject"]}
    assert await broken(gateway) is None
    # Reading, refusals and predictions are no acts.
    await admin.post("/v1/customers", json={"name": ""})
    await admin.get(f"/v1/licenses/{license.id}")
    await stranger.post("/v1/models/digits/predict", content=b"")
    await stranger.post("/v1/customers", json={"name": "Eve"})
    assert await log_of(admin) == rows
    assert not any(word in str(rows) for word in ("Acme", "Ada", "Lovelace"))


async def test_the_request_id_leads_from_an_answer_to_its_row(admin: httpx.AsyncClient) -> None:
    added = await admin.post("/v1/customers", json={"name": "Acme"}, headers={"X-Request-Id": "ticket-4711"})
    assert added.headers["x-request-id"] == "ticket-4711"
    assert (await log_of(admin))[-1]["request_id"] == "ticket-4711"


async def test_it_is_read_from_any_row_on(admin: httpx.AsyncClient) -> None:
    for name in "abc":
        await admin.post("/v1/customers", json={"name": name})
    rows = await log_of(admin)
    later = (await admin.get("/v1/audit", params={"after": rows[1]["number"], "limit": 1})).json()["items"]
    assert later == rows[2:3]
    for bad in ("-1", "x", str(2**60)):
        expect.problem(await admin.get("/v1/audit", params={"after": bad}), 422, "INVALID_INPUT", "query.after")


def changed(**values: Any) -> Tamper:
    """The third row says something else."""

    async def tamper(session: AsyncSession) -> None:
        row = (await session.scalars(select(AuditEvent).order_by(AuditEvent.number))).all()[2]
        if "at" in values:
            values["at"] = row.at + timedelta(seconds=1)
        await session.execute(update(AuditEvent).where(AuditEvent.number == row.number).values(**values))

    return tamper


def gone(which: int) -> Tamper:
    """A row taken out."""

    async def tamper(session: AsyncSession) -> None:
        row = (await session.scalars(select(AuditEvent).order_by(AuditEvent.number))).all()[which]
        await session.execute(delete(AuditEvent).where(AuditEvent.number == row.number))

    return tamper


async def exchanged(session: AsyncSession) -> None:
    """Two rows exchange what they say, each keeping its number and digest."""
    rows = (await session.scalars(select(AuditEvent).order_by(AuditEvent.number))).all()
    rows[2].subject, rows[3].subject = rows[3].subject, rows[2].subject


TAMPERED = {
    "another actor": (changed(actor="somebody"), 3),
    "another time": (changed(at=None), 3),
    "another action": (changed(action="customer.erased"), 3),
    "another subject": (changed(subject="cus_" + "f" * 32), 3),
    "other details": (changed(details={"quota": 10**6}), 3),
    "another request": (changed(request_id="req_1"), 3),
    "another digest": (changed(digest="f" * 64), 3),
    "two rows exchanged": (exchanged, 3),
    "the first row gone": (gone(0), 2),
    "a row gone from the middle": (gone(2), 4),
    "the last row gone": (gone(-1), 5),
}


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_tampering_is_found_at_the_first_row_that_does_not_follow(
    admin: httpx.AsyncClient, gateway: Gateway, name: str
) -> None:
    for customer in ("a", "b", "c", "d"):
        await admin.post("/v1/customers", json={"name": customer})
    assert await broken(gateway) is None
    tamper, expected = TAMPERED[name]
    async with gateway.sessions.begin() as session:
        numbers = list(await session.scalars(select(AuditEvent.number).order_by(AuditEvent.number)))
        await tamper(session)
    assert await broken(gateway) == numbers[expected - 1]


async def test_an_intact_chain_holds_on_both_databases(admin: httpx.AsyncClient, gateway: Gateway) -> None:
    for customer in ("a", "b"):
        await admin.post("/v1/customers", json={"name": customer})
    assert await broken(gateway) is None
    async with gateway.sessions.begin() as session:
        await changed(actor="somebody")(session)
    assert await broken(gateway) is not None
