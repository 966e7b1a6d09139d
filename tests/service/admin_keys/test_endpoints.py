"""Administrators' keys: minted once, listed without secrets, revoked at once; the last owner stays."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.gateway import Gateway
from service.keyring import write_private
from service.keys import Key
from tests.service import expect
from tests.service.conftest import SetClock, client_of
from tests.service.standing import rows_of

KEYS = "/v1/admin-keys"


async def mint(admin: httpx.AsyncClient, role: str, name: str = "Ada") -> dict[str, Any]:
    """A new key as its owner sees it once."""
    minted = await admin.post(KEYS, json={"name": name, "role": role})
    assert minted.status_code == 201
    document: dict[str, Any] = minted.json()
    return document


async def test_a_key_is_shown_once_and_works(app: FastAPI, admin: httpx.AsyncClient) -> None:
    minted = await mint(admin, "auditor")
    key = Key.parse(minted["key"])
    assert key is not None
    assert (key.kind, key.public_id) == ("sga", minted["public_id"])
    listed = await admin.get(KEYS)
    assert minted["key"] not in listed.text
    assert {name: value for name, value in minted.items() if name != "key"} in listed.json()["items"]
    for shown in (
        {"Authorization": f"Bearer {minted['key']}"},
        {"authorization": f"bearer  {minted['key']} "},
        {"X-API-Key": minted["key"]},
    ):
        async with client_of(app, **shown) as auditor:
            assert (await auditor.get("/v1/customers")).status_code == 200


async def test_a_revoked_key_ends_at_once_and_is_like_none(app: FastAPI, admin: httpx.AsyncClient) -> None:
    minted = await mint(admin, "owner")
    async with client_of(app, Authorization=f"Bearer {minted['key']}") as other, client_of(app) as nobody:
        assert (await other.get(KEYS)).status_code == 200
        revoked = await admin.post(f"{KEYS}/{minted['id']}/revoke")
        assert revoked.json()["revoked_at"] is not None
        answer = await other.get(KEYS)
        expect.problem(answer, 401, "ADMIN_KEY_REQUIRED", "headers.authorization")
        expect.alike(answer, await nobody.get(KEYS))
    again = await admin.post(f"{KEYS}/{minted['id']}/revoke")
    assert again.json() == revoked.json()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda key: key[:-1], id="cut"),
        pytest.param(lambda key: key[:-1] + ("a" if key[-1] != "a" else "b"), id="another checksum"),
        pytest.param(lambda key: key.replace("sga_", "sgn_"), id="a licensee's prefix"),
        pytest.param(lambda key: key + "\0", id="a zero byte"),
        pytest.param(lambda key: key.upper(), id="upper case"),
        pytest.param(lambda key: f'"{key}"', id="quoted"),
        pytest.param(lambda _: Key.mint("sga").text, id="well formed, but nobody's"),
        pytest.param(lambda _: Key.mint("sgn").text, id="a license key"),
        pytest.param(lambda key: another_secret(key), id="our id, another secret"),
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda _: "é" * 66, id="beyond ASCII"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_wrong_key_is_like_none(app: FastAPI, admin_key: str, stranger: httpx.AsyncClient, spoil: Any) -> None:
    request = stranger.build_request("GET", KEYS, headers={"Authorization": f"Bearer {spoil(admin_key)}".encode()})
    answer = await stranger.send(request)
    expect.problem(answer, 401, "ADMIN_KEY_REQUIRED", "headers.authorization")
    expect.alike(answer, await stranger.get(KEYS))
    assert answer.headers["www-authenticate"] == "Bearer"


def another_secret(text: str) -> str:
    """A key with the same public id and a right checksum."""
    from service.keys import _checksum

    body = Key.mint("sga").text
    forged = text.partition(".")[0] + "." + body.partition(".")[2][:43]
    return forged + _checksum(forged)


async def test_the_last_owner_stays(admin: httpx.AsyncClient) -> None:
    (own,) = (await admin.get(KEYS)).json()["items"]
    await mint(admin, "issuer")
    expect.problem(await admin.post(f"{KEYS}/{own['id']}/revoke"), 409, "CONFLICT", "admin_key_id")
    second = await mint(admin, "owner")
    assert (await admin.post(f"{KEYS}/{second['id']}/revoke")).status_code == 200
    expect.problem(await admin.post(f"{KEYS}/{own['id']}/revoke"), 409, "CONFLICT", "admin_key_id")


async def test_two_owners_who_revoke_each_other_at_once_leave_one(app: FastAPI, admin: httpx.AsyncClient) -> None:
    for _ in range(5):
        (own, *_) = [key for key in (await admin.get(KEYS)).json()["items"] if key["revoked_at"] is None]
        second = await mint(admin, "owner")
        async with client_of(app, Authorization=f"Bearer {second['key']}") as other:
            answers = await asyncio.gather(
                admin.post(f"{KEYS}/{second['id']}/revoke"), other.post(f"{KEYS}/{own['id']}/revoke")
            )
            survivor = admin if answers[0].status_code == 200 else other
            assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 409])
            alive = [key for key in (await survivor.get(KEYS)).json()["items"] if key["revoked_at"] is None]
        assert len(alive) == 1
        if survivor is other:
            return


BAD = {
    "no name": ({"role": "owner"}, "name"),
    "an empty name": ({"name": "", "role": "owner"}, "name"),
    "a name too long": ({"name": "x" * 101, "role": "owner"}, "name"),
    "a zero byte in a name": ({"name": "a\0b", "role": "owner"}, "name"),
    "a line's end in a name": ({"name": "a\nb", "role": "owner"}, "name"),
    "no role": ({"name": "Ada"}, "role"),
    "an unknown role": ({"name": "Ada", "role": "root"}, "role"),
    "a key of one's own": ({"name": "Ada", "role": "owner", "key": "x"}, "key"),
}


async def test_what_cannot_be_minted_is_named(admin: httpx.AsyncClient, gateway: Gateway) -> None:
    before = await rows_of(gateway)
    for name, (body, field) in BAD.items():
        answer = await admin.post(KEYS, json=body)
        assert answer.status_code == 422, name
        expect.problem(answer, 422, "INVALID_INPUT", field)
    assert await rows_of(gateway) == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_id_that_is_not_there_or_none_is_named(admin: httpx.AsyncClient) -> None:
    unknown = await admin.post(f"{KEYS}/adm_{'0' * 32}/revoke")
    expect.problem(unknown, 404, "UNKNOWN_RESOURCE", "admin_key_id")
    expect.problem(await admin.post(f"{KEYS}/adm_1/revoke"), 422, "INVALID_INPUT", "path.admin_key_id")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_key_outlives_a_rotation_but_not_the_loss_of_its_root(
    app: FastAPI, gateway: Gateway, admin_key: str, clock: SetClock
) -> None:
    rotated = gateway.ring.rotated()
    lost = type(rotated)(
        {rotated.active_root: rotated.roots[rotated.active_root]},
        rotated.active_root,
        rotated.issuers,
        rotated.active_issuer,
    )
    for ring, status in ((rotated, 200), (lost, 401)):
        write_private(gateway.settings.home / "keys" / "ring.json", ring.to_json())
        again = create_app(gateway.settings, clock=clock)
        async with again.router.lifespan_context(again), client_of(again, Authorization=f"Bearer {admin_key}") as admin:
            assert (await admin.get(KEYS)).status_code == status
