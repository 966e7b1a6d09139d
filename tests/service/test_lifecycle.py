"""A gateway's life: started over what is there, restarted with nothing lost, stopped with nothing left behind."""

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from models import data
from service.app import create_app
from service.gateway import Gateway
from service.keyring import KeyRing, KeyRingError, open_ring, write_private
from service.settings import Settings
from service.usage.tables import Reservation, Worker
from tests.service.asking import Caller, another_gateway, claims, labels, new_nonce, on_sqlite, sample, used
from tests.service.conftest import Issue, SetClock, client_of


async def test_a_restart_loses_nothing(
    settings: Settings, clock: SetClock, admin_key: str, app: FastAPI, issue: Issue, digits: data.Dataset
) -> None:
    """Sessions, licenses, counts and lies are the same for another process over the same home."""
    issued, key = await issue("fingerprint", quota=3), await issue("key")
    session = (await Caller(app).show_fingerprint(issued.png)).json()
    assert (await Caller(app).predict([sample(digits)] * 2, session["token"])).status_code == 200
    lie = (await Caller(app).predict([sample(digits)])).content

    async with (
        another_gateway(settings, clock) as restarted,
        client_of(restarted, Authorization=f"Bearer {admin_key}") as admin,
    ):
        caller = Caller(restarted)
        assert (await caller.http.get("/v1/health/ready")).json() == {"status": "ready"}
        assert labels(await caller.predict([sample(digits)], session["token"])) == [str(digits.test.labels[0])]
        assert (await caller.predict([sample(digits)], session["token"])).json()["code"] == "QUOTA_EXCEEDED"
        assert await used(admin, issued) == 3
        assert labels(await caller.predict([sample(digits)], key.secret)) == [str(digits.test.labels[0])]
        assert (await caller.predict([sample(digits)])).content == lie
        nonce = new_nonce()
        await admin.post(f"/v1/licenses/{issued.id}/suspend")
        await admin.post(f"/v1/licenses/{issued.id}/reinstate")
        refused = await caller.show_fingerprint(issued.png, nonce=nonce)
        assert refused.json()["code"] == "QUOTA_EXCEEDED", "and so is the session"


async def test_a_rotated_ring_keeps_what_exists(
    settings: Settings, clock: SetClock, app: FastAPI, issue: Issue, digits: data.Dataset
) -> None:
    issued, key = await issue("fingerprint"), await issue("key")
    token = (await Caller(app).show_key(key.secret)).json()["token"]
    path = settings.home / "keys" / "ring.json"
    write_private(path, open_ring(path, create=False).rotated().to_json())

    async with another_gateway(settings, clock) as restarted:
        caller, nonce = Caller(restarted), new_nonce()
        assert claims(issued, nonce, (await caller.show_fingerprint(issued.png, nonce=nonce)).json()) is not None
        for secret in (token, key.secret):
            assert labels(await caller.predict([sample(digits)], secret)) == [str(digits.test.labels[0])]
        fresh = (await caller.show_key(key.secret)).json()["token"]
        old = await Caller(app).predict([sample(digits)], fresh)
        assert old.status_code == 401, (
            "one that was not restarted does not know the new root: hence `Restart the gateway`"
        )


async def test_it_stops_with_nothing_left_behind(settings: Settings, clock: SetClock, gateway: Gateway) -> None:
    async with another_gateway(settings, clock) as other:
        worker = other.state.gateway.ledger.worker_id
    async with gateway.sessions() as session:
        assert await session.get(Worker, worker) is None
        assert (await session.scalars(select(Reservation).where(Reservation.worker_id == worker))).all() == []
    await asyncio.sleep(0)
    assert not [task for task in other.state.gateway.tasks if not task.done()]


@on_sqlite
async def test_not_ready_before_it_has_started(settings: Settings, clock: SetClock, admin_key: str) -> None:
    app = create_app(settings, clock=clock)
    answer = await Caller(app).http.get("/v1/health/ready")
    assert (answer.status_code, answer.json()["code"]) == (503, "OVERLOADED")
    assert (await Caller(app).http.get("/v1/health/live")).status_code == 200
    await app.state.gateway.database.dispose()


@on_sqlite
async def test_a_damaged_version_does_not_keep_the_others_from_being_served(
    settings: Settings, clock: SetClock, app: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
) -> None:
    issued = await issue("key")
    weights = settings.home / "models" / "digits" / "1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    async with another_gateway(settings, clock) as restarted:
        assert (await Caller(restarted).http.get("/v1/health/ready")).status_code == 200
        for secret in (issued.secret, None):
            answer = await Caller(restarted).predict([sample(digits)], secret)
            assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
            assert answer.json()["errors"][0]["field"] == "weights_sha256"


@on_sqlite
async def test_requests_of_no_known_address_are_served(app: FastAPI, issue: Issue, digits: data.Dataset) -> None:
    """A Unix socket has none, and a proxy may pass on anything."""
    anywhere, at_home = await issue("key"), await issue("key", networks=["10.0.0.0/8"])
    for address in ("", "unix", "unknown", "10.1.2.3:4711", "fe80::1%eth0", "::ffff:10.1.2.3"):
        caller = Caller(app, address)
        assert (await caller.predict([sample(digits)], anywhere.secret)).status_code == 200, address
        told = await caller.predict([sample(digits)], at_home.secret)
        if address == "::ffff:10.1.2.3":
            assert told.status_code == 200, "an IPv4 address as a dual-stack socket writes it"
        else:
            assert (told.status_code, told.json().get("code")) == (403, "NETWORK_SCOPE_MISMATCH"), address


@pytest.mark.parametrize(("text", "said"), [(None, "cannot read"), ("rubbish", "not a Signet key ring")])
def test_without_its_key_ring_it_does_not_start(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        write_private(tmp_path / "keys" / "ring.json", text)
    with pytest.raises(KeyRingError, match=said):
        create_app(Settings(home=tmp_path))
    write_private(tmp_path / "keys" / "ring.json", KeyRing.generate().to_json())
    assert create_app(Settings(home=tmp_path))
