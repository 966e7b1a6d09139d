"""Customers: added, listed, shown; whatever is not one is refused and leaves nothing behind."""

from typing import Any

import httpx

from service.gateway import Gateway
from tests.service import expect
from tests.service.standing import rows_of

UNKNOWN = "cus_" + "0" * 32


async def test_a_customer_is_added_shown_and_listed(admin: httpx.AsyncClient) -> None:
    added = await admin.post("/v1/customers", json={"name": "  Acme Optics ", "email": "licensing@acme.example"})
    assert added.status_code == 201
    customer = added.json()
    assert customer["name"] == "Acme Optics"
    assert customer["created_at"] == "2027-01-15T12:00:00Z"
    assert (await admin.get(f"/v1/customers/{customer['id']}")).json() == customer
    assert (await admin.get("/v1/customers")).json() == {"items": [customer], "next_cursor": None}


async def test_names_of_every_script_are_kept_as_they_are(admin: httpx.AsyncClient) -> None:
    for name in ("Ångström & Söhne", "株式会社", "شركة", "👩‍🔬", "Robert'); DROP TABLE customers;--", "x" * 200):
        customer = (await admin.post("/v1/customers", json={"name": name})).json()
        assert (await admin.get(f"/v1/customers/{customer['id']}")).json()["name"] == name


BAD: list[tuple[str, Any, str]] = [
    ("no name", {}, "name"),
    ("an empty name", {"name": ""}, "name"),
    ("a name of blanks", {"name": "   "}, "name"),
    ("a name that is a number", {"name": 5}, "name"),
    ("a name that is null", {"name": None}, "name"),
    ("a name too long", {"name": "x" * 201}, "name"),
    ("a line's end in a name", {"name": "Acme\nOptics"}, "name"),
    ("a zero byte in a name", {"name": "Acme\0"}, "name"),
    ("half a character in a name", '{"name": "\\ud800"}', "name"),
    ("an address that is none", {"name": "Acme", "email": "acme"}, "email"),
    ("an address with a blank", {"name": "Acme", "email": "a b@acme.example"}, "email"),
    ("an address of two lines", {"name": "Acme", "email": "a@acme.example\nBcc: b@c.example"}, "email"),
    ("a zero byte in an address", {"name": "Acme", "email": "a\0@acme.example"}, "email"),
    ("half a character in an address", '{"name": "Acme", "email": "\\udfff@a"}', "email"),
    ("an address too long", {"name": "Acme", "email": "a" * 320 + "@b"}, "email"),
    ("an unknown field", {"name": "Acme", "vip": True}, "vip"),
    ("a list", [], "body"),
    ("null", None, "body"),
    ("broken JSON", '{"name": ', "body"),
    ("nothing", "", "body"),
    ("bytes that are no text", b'{"name": "\xff"}', "body"),
    ("brackets without end", "[" * 100_000, "body"),
]


async def test_what_is_no_customer_is_refused_by_field_and_leaves_nothing(
    admin: httpx.AsyncClient, gateway: Gateway
) -> None:
    before = await rows_of(gateway)
    for name, body, field in BAD:
        if isinstance(body, str | bytes):
            answer = await admin.post("/v1/customers", content=body, headers={"Content-Type": "application/json"})
        else:
            answer = await admin.post("/v1/customers", json=body)
        assert answer.status_code == 422, name
        expect.problem(answer, 422, "INVALID_INPUT", field)
    assert await rows_of(gateway) == before


async def test_an_id_that_is_not_there_or_none_is_named(admin: httpx.AsyncClient) -> None:
    expect.problem(await admin.get(f"/v1/customers/{UNKNOWN}"), 404, "UNKNOWN_RESOURCE", "customer_id")
    for bad in ("cus_1", UNKNOWN.upper(), UNKNOWN + "0", UNKNOWN + "%0A", "lic_" + "0" * 32, "%00"):
        expect.problem(await admin.get(f"/v1/customers/{bad}"), 422, "INVALID_INPUT", "path.customer_id")
