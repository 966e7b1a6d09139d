"""Every bad input a caller can send: told plainly, the same to a licensee and a stranger, and nothing changes."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from tests.service import expect
from tests.service.inputs.bad_arrays import ARRAYS, DOCUMENTS
from tests.service.inputs.bad_bodies import BODIES, OPENINGS, PLACES
from tests.service.inputs.bad_pictures import PICTURES
from tests.service.inputs.rows import BOUNDARY, GOOD, NONCE, PREDICT, SESSIONS, Row
from tests.service.standing import Standing, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 2**20

ROWS = [
    pytest.param(row, id=f"{group}: {row.name}")
    for group, rows in (
        ("picture", PICTURES),
        ("array", ARRAYS),
        ("document", DOCUMENTS),
        ("body", BODIES),
        ("place", PLACES),
        ("session", OPENINGS),
    )
    for row in rows
]


@pytest.mark.parametrize("row", ROWS)
async def test_a_licensee_and_a_stranger_are_told_the_same_and_nothing_changes(standing: Standing, row: Row) -> None:
    before = await rows_of(standing.gateway)
    answers = [await caller.post(row.path, **row.sent) for caller in (standing.licensee, standing.stranger)]
    for answer in answers:
        expect.problem(answer, row.status, row.code, row.field)
    expect.alike(*answers)
    assert await rows_of(standing.gateway) == before


@pytest.mark.parametrize("media", ["application/json", "image/png", BOUNDARY, "application/octet-stream"])
async def test_a_body_without_a_length_is_stopped_at_the_limit(standing: Standing, media: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(400):
            sent += 64 * 1024
            yield b"a" * 64 * 1024

    before = await rows_of(standing.gateway)
    for caller in (standing.licensee, standing.stranger):
        for path in (PREDICT, SESSIONS):
            answer = await caller.post(path, content=endless(), headers={"Content-Type": media})
            expect.problem(answer, 413, "BODY_TOO_LARGE", "body")
    assert await rows_of(standing.gateway) == before


async def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_read(standing: Standing) -> None:
    async def never() -> AsyncIterator[bytes]:
        pytest.fail("the body was asked for")
        yield b""

    answer = await standing.stranger.post(
        PREDICT, content=never(), headers={"Content-Length": str(MIB + 1), "Content-Type": "image/png"}
    )
    expect.problem(answer, 413, "BODY_TOO_LARGE", "body")


@pytest.mark.parametrize("length", ["²", "-1", "1e9", "0x10", " ", "9" * 5000])
async def test_a_length_that_is_no_number_is_no_bug(standing: Standing, length: str) -> None:
    headers = {"Content-Length": length.encode("latin1"), "Content-Type": "image/png"}
    request = standing.stranger.build_request("POST", PREDICT, headers=headers, content=GOOD)
    answer = await standing.stranger.send(request)
    assert answer.status_code in (200, 413, 422)


TOKENS = [
    pytest.param("garbage", id="no token at all"),
    pytest.param("A" * 75, id="of the right length"),
    pytest.param("ä" * 75, id="beyond ASCII"),
    pytest.param("sga_000000000000." + "a" * 49, id="an admin key's form"),
]


@pytest.mark.parametrize("token", TOKENS)
async def test_a_token_that_does_not_open_is_refused_before_the_body_is_looked_at(
    standing: Standing, token: str
) -> None:
    request = standing.stranger.build_request(
        "POST", PREDICT, content=b"rubbish", headers={"Authorization": f"Bearer {token}".encode()}
    )
    answer = await standing.stranger.send(request)
    expect.problem(answer, 401, "SESSION_INVALID", "headers.authorization")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_tokens_past_their_time_look_alike_whoever_bought_them(standing: Standing) -> None:
    async def expired(caller: httpx.AsyncClient) -> httpx.Response:
        token = (await caller.post(SESSIONS, json={"nonce": NONCE})).json()["token"]
        standing.clock.now += timedelta(hours=1, seconds=1)
        return await standing.stranger.post(
            PREDICT, content=GOOD, headers={"Content-Type": "image/png", "Authorization": f"Bearer {token}"}
        )

    answers = [await expired(standing.licensee), await expired(standing.stranger)]
    expect.problem(answers[0], 401, "SESSION_INVALID", "headers.authorization")
    expect.alike(*answers)
