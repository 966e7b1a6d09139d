"""Lists by cursor: every row once, in order, whatever is added meanwhile; and a cursor that is not ours is said."""

import base64
from datetime import timedelta
from itertools import product

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import pages
from service.errors import InvalidInput
from tests.service import expect
from tests.service.conftest import SetClock


async def add(admin: httpx.AsyncClient, name: str) -> None:
    """One more row."""
    assert (await admin.post("/v1/customers", json={"name": name})).status_code == 201


async def walk(admin: httpx.AsyncClient, limit: int) -> list[str]:
    """Every name, page by page."""
    names, cursor = [], None
    while True:
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        page = (await admin.get("/v1/customers", params=query)).json()
        assert len(page["items"]) <= limit
        names += [item["name"] for item in page["items"]]
        assert len(names) <= 20, "the pages do not end"
        cursor = page["next_cursor"]
        if cursor is None:
            return names


async def test_every_row_comes_once_and_in_order(admin: httpx.AsyncClient, clock: SetClock) -> None:
    for number in range(7):
        await add(admin, f"customer {number}")
        clock.now += timedelta(microseconds=1)
    expected = [f"customer {number}" for number in range(7)]
    for limit in (1, 2, 7, 200):
        assert await walk(admin, limit) == expected


async def test_rows_of_one_moment_are_not_lost_between_pages(admin: httpx.AsyncClient) -> None:
    for number in range(5):
        await add(admin, f"customer {number}")
    assert sorted(await walk(admin, 2)) == [f"customer {number}" for number in range(5)]


async def test_rows_added_meanwhile_move_nothing(admin: httpx.AsyncClient, clock: SetClock) -> None:
    for name in ("one", "two", "three"):
        await add(admin, name)
        clock.advance(seconds=1)
    first = (await admin.get("/v1/customers", params={"limit": 2})).json()
    await add(admin, "four")
    again = (await admin.get("/v1/customers", params={"limit": 2})).json()
    assert again == first
    rest = (await admin.get("/v1/customers", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [item["name"] for item in rest["items"]] == ["three", "four"]


def forged(text: str) -> str:
    """A cursor's spelling of anything."""
    return base64.urlsafe_b64encode(text.encode()).decode()


BAD = {
    "no base64": "!!!",
    "an empty one": "",
    "too long": "A" * 201,
    "no text": base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "no date": forged("yesterday|cus_1"),
    "a date without a zone": forged("2027-01-15T12:00:00|cus_1"),
    "no id": forged("2027-01-15T12:00:00+00:00|"),
    "an id with a line's end": forged("2027-01-15T12:00:00+00:00|a\nb"),
    "an id with a zero byte": forged("2027-01-15T12:00:00+00:00|a\0"),
    "a date before all dates": forged("0001-01-01T00:00:00+14:00|cus_1"),
    "a date after all dates": forged("9999-12-31T23:59:59-14:00|cus_1"),
}


async def test_a_cursor_that_is_not_ours_is_named(admin: httpx.AsyncClient) -> None:
    for path, (name, cursor) in product(("/v1/customers", "/v1/licenses", "/v1/models"), BAD.items()):
        answer = await admin.get(path, params={"cursor": cursor})
        assert answer.status_code == 422, name
        expect.problem(answer, 422, "INVALID_INPUT")
        assert answer.json()["errors"][0]["field"] in ("cursor", "query.cursor")


async def test_a_forged_one_that_reads_well_leads_nowhere_it_should_not(admin: httpx.AsyncClient) -> None:
    await add(admin, "one")
    for moment in ("0001-01-01T00:00:00+00:00", "2027-01-15T13:00:00+01:00", "9999-12-31T23:59:59.999999+00:00"):
        for identifier in ("0", "' OR 1=1 --", "漢"):
            answer = await admin.get("/v1/customers", params={"cursor": forged(f"{moment}|{identifier}")})
            assert answer.status_code == 200
    elsewhere = await admin.get("/v1/customers", params={"cursor": forged("2027-01-15T13:00:00+01:00|a")})
    assert [item["name"] for item in elsewhere.json()["items"]] == ["one"]  # the same moment, said in another zone


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_limit_out_of_range_is_named(admin: httpx.AsyncClient) -> None:
    for limit in ("1", "200"):
        assert (await admin.get("/v1/customers", params={"limit": limit})).status_code == 200
    for limit in ("0", "-1", "201", "x", "1e1"):
        expect.problem(await admin.get("/v1/customers", params={"limit": limit}), 422, "INVALID_INPUT", "query.limit")


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=40), st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
def test_any_text_is_a_position_or_is_refused(cursor: str) -> None:
    try:
        moment, identifier = pages._position(cursor)
    except InvalidInput:
        return
    moment.astimezone(tz=None)
    assert identifier.isprintable()
