"""Each verdict x each route x plain HTTP and the client: what the design page says, no more and no less.

A row tells a story: a license under `terms`; a session is bought while all is well, where the route has one; `then`
something happens; the licensee asks. CANNOT says where a verdict cannot arise, why, and what is said instead.
"""

import contextlib
from datetime import timedelta

import httpx
import pytest
import signet_client
from sqlalchemy import func, select

from models import data
from service.control.verdict import Code
from service.keys import Key
from service.usage.tables import Reservation
from tests.service.asking import ELSEWHERE, HOME, Caller, claims, new_nonce, on_sqlite, used
from tests.service.conftest import Issue
from tests.service.control.conftest import World
from tests.service.control.stories import (
    HTTP,
    SESSIONS,
    Licensee,
    Route,
    Row,
    a_new_version,
    another_model,
    at,
    client_of,
    later,
    licensed,
    nothing,
    one_is_under_way,
    operations_other_than,
    other_model_file,
    revoked,
    suspended,
    the_quota_is_used_up,
    the_rate_is_used_up,
)

pytestmark = on_sqlite  # verdicts are taken from memory; counting is tested on both databases under usage/

ROWS = (
    Row(Code.REVOKED, {}, revoked, raises=signet_client.LicenseRevoked, on=at()),
    Row(Code.SUSPENDED, {}, suspended, raises=signet_client.LicenseSuspended, on=at()),
    Row(  # a session was bought, then the gateway's clock was set right
        Code.NOT_YET_VALID, {"not_before": at()}, later(days=-2), raises=signet_client.LicenseNotYetValid,
        on=at(), retry_after=2 * 86_400,
    ),
    Row(
        Code.EXPIRED, {"expires_at": at(minutes=5)}, later(minutes=6), raises=signet_client.LicenseExpired,
        on=at(minutes=5),
    ),
    Row(  # the end that is told is that of the grace
        Code.EXPIRED, {"expires_at": at(minutes=5), "grace_days": 3}, later(minutes=6),
        raises=signet_client.LicenseExpired, wait=timedelta(days=3), on=at(days=3, minutes=5),
    ),
    Row(
        Code.CHECK_IN_OVERDUE, {"check_in_days": 1}, later(minutes=20), raises=signet_client.CheckInOverdue,
        wait=timedelta(days=1, minutes=-10), on=at(days=1),
    ),
    Row(Code.MODEL_SCOPE_MISMATCH, {}, another_model, raises=signet_client.ScopeMismatch, model="letters"),
    Row(Code.VERSION_SCOPE_MISMATCH, {"versions": [1]}, a_new_version, raises=signet_client.ScopeMismatch),
    Row(
        Code.OPERATION_SCOPE_MISMATCH, operations_other_than,
        nothing, raises=signet_client.ScopeMismatch,
    ),
    Row(
        Code.NETWORK_SCOPE_MISMATCH, {"networks": ["127.0.0.0/8", "2001:db8::/32"]}, nothing,
        raises=signet_client.ScopeMismatch, asked_from=ELSEWHERE, asks_dry={"address": ELSEWHERE},
    ),
    Row(
        Code.TOO_MANY_IMAGES, {"max_images_per_request": 2}, nothing, raises=signet_client.TooManyImages,
        limit=2, images=3, asks_dry={"images": "3"},
    ),
    Row(
        Code.QUOTA_EXCEEDED, {"quota": 3}, the_quota_is_used_up, status=429, raises=signet_client.QuotaExceeded,
        limit=3,
    ),
    Row(
        Code.CONCURRENCY_EXCEEDED, {"max_concurrency": 1}, one_is_under_way, status=429,
        raises=signet_client.ConcurrencyExceeded, limit=1, retry_after=1, dry_run=Code.VALID,
    ),
    Row(  # four a minute: after a minute's worth at once, the next turn comes in 15 seconds
        Code.RATE_LIMITED, {"rate_per_minute": 4}, the_rate_is_used_up, status=429,
        raises=signet_client.RateLimited, limit=4, retry_after=15, dry_run=Code.VALID,
    ),
)  # fmt: skip
NAMED = [
    pytest.param(row, id=f"{row.code}{'-after-grace' if 'grace_days' in row.terms_for(Route.PREDICT_BY_KEY) else ''}")
    for row in ROWS
]

CANNOT: dict[tuple[Code, Route], tuple[str, int]] = {
    (Code.MODEL_SCOPE_MISMATCH, Route.SESSION_BY_FINGERPRINT): (
        "fingerprints are looked up among the model's own: another model's buys what a stranger's does",
        201,
    ),
    (Code.MODEL_SCOPE_MISMATCH, Route.PREDICT_BY_TOKEN): ("a token opens for the model it was bought for only", 401),
    (Code.MODEL_SCOPE_MISMATCH, Route.CLIENT_OPENS): ("the client asks for the model of its license file", 0),
    (Code.MODEL_SCOPE_MISMATCH, Route.CLIENT_ASKS): ("the client asks for the model of its license file", 0),
    (Code.VERSION_SCOPE_MISMATCH, Route.SESSION_BY_KEY): ("a session is for all licensed versions", 201),
    (Code.VERSION_SCOPE_MISMATCH, Route.SESSION_BY_FINGERPRINT): ("a session is for all licensed versions", 201),
    (Code.TOO_MANY_IMAGES, Route.SESSION_BY_KEY): ("a session holds no image", 201),
    (Code.TOO_MANY_IMAGES, Route.SESSION_BY_FINGERPRINT): ("a session holds no image", 201),
    (Code.TOO_MANY_IMAGES, Route.CLIENT_OPENS): ("a session holds no image", 0),
}


@pytest.mark.parametrize("route", HTTP)
@pytest.mark.parametrize("row", NAMED)
async def test_each_refusal_on_each_route(row: Row, route: Route, world: World, issue: Issue) -> None:
    issued = await licensed(row, route, world, issue)
    licensee = Licensee(world, route, issued)
    await licensee.opens()
    await row.then(world, issued)
    operation = "session" if route in SESSIONS else "predict"
    before, told, counted = await used(world.admin, issued), world.verdicts(operation), await world.refusals()

    answer = await licensee.asks(row)

    if (row.code, route) in CANNOT:
        _, status = CANNOT[row.code, route]
        assert answer.status_code == status
        assert answer.json().get("code") != row.code
        return
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (row.status, row.status)
    assert {name: problem.get(name) for name in row.said()} == row.said()
    assert answer.headers.get("Retry-After") == (None if row.retry_after is None else str(row.retry_after))
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert await used(world.admin, issued) == before, "nothing is consumed unless VALID"
    # The same code stands wherever the refusal is told.
    assert world.verdicts(operation) == {**told, row.code: told.get(row.code, 0) + 1}
    assert await world.refusals() == {**counted, row.code: counted.get(row.code, 0) + 1}


# A dry run asks for the license's own model.
@pytest.mark.parametrize("row", [row for row in NAMED if row.id != Code.MODEL_SCOPE_MISMATCH])
async def test_the_issuers_dry_run_says_the_same(row: Row, world: World, issue: Issue) -> None:
    issued = await licensed(row, Route.PREDICT_BY_KEY, world, issue)
    await row.then(world, issued)
    before, told, counted = await used(world.admin, issued), world.verdicts("predict"), await world.refusals()

    answer = await world.admin.get(f"/v1/licenses/{issued.id}/verdict", params=row.asks_dry)

    verdict = answer.json()
    verdict["on"] = verdict["on"] and verdict["on"][:19] + "Z"
    if row.dry_run is None:
        assert verdict == {**row.said(), "in_grace": False}
    else:  # concurrency and rate are this process's memory: the dry run leaves them out
        assert verdict["code"] == row.dry_run
    assert await used(world.admin, issued) == before
    assert (world.verdicts("predict"), await world.refusals()) == (told, counted)


@pytest.mark.parametrize(
    ("row", "route"),
    [
        pytest.param(row.values[0], route, id=f"{row.id}-{route}")
        for row in NAMED
        for route in (Route.CLIENT_OPENS, Route.CLIENT_ASKS)
        if (row.values[0].code, route) not in CANNOT
    ],
)
async def test_the_client_raises_each_refusal_as_an_error_of_its_own(
    row: Row, route: Route, world: World, issue: Issue
) -> None:
    issued = await licensed(row, route, world, issue)
    transport = httpx.ASGITransport(world.app, client=(HOME, 4711))
    async with client_of(world, issued.text, transport) as client:
        if route == Route.CLIENT_ASKS:
            with contextlib.suppress(signet_client.ScopeMismatch):
                await client.predict(world.picture)
        await row.then(world, issued)
        before = await used(world.admin, issued)
        transport.client = (row.asked_from, 4711)

        with pytest.raises(row.raises) as caught:
            await client.predict([world.picture] * row.images)

    error = caught.value
    assert (error.code, error.retry_after) == (row.code, row.retry_after)
    if row.on is not None:
        assert error.on.isoformat() == row.on[:10]
    if row.code in (Code.TOO_MANY_IMAGES, Code.QUOTA_EXCEEDED):
        assert error.limit == row.limit
    assert issued.secret not in f"{error!r} {error} {error.__cause__!r} {error.__context__!r}"
    assert await used(world.admin, issued) == before


class TestValid:
    """The truth, counted; and told in the receipt when it is told in grace."""

    @pytest.mark.parametrize("route", HTTP)
    @pytest.mark.parametrize("in_grace", [False, True], ids=["VALID", "VALID-in-grace"])
    async def test_on_each_route(
        self, in_grace: bool, route: Route, world: World, issue: Issue, digits: data.Dataset
    ) -> None:
        terms = {"expires_at": at(minutes=5), "grace_days": 3}
        row = Row(Code.VALID, terms, later(minutes=6) if in_grace else nothing, images=2)
        issued = await licensed(row, route, world, issue)
        licensee = Licensee(world, route, issued)
        await licensee.opens()
        await row.then(world, issued)
        operation = "session" if route in SESSIONS else "predict"
        told, counted = world.verdicts(operation), await world.refusals()

        answer = await licensee.asks(row)

        assert answer.is_success, answer.text
        if operation == "predict":
            assert [one["label"] for one in answer.json()["predictions"]] == [str(digits.test.labels[0])] * 2
        assert await used(world.admin, issued) == (2 if operation == "predict" else 0)
        assert world.verdicts(operation) == {**told, "VALID": told.get("VALID", 0) + 1}
        assert await world.refusals() == counted
        tried = (await world.admin.get(f"/v1/licenses/{issued.id}/verdict")).json()
        assert (tried["code"], tried["in_grace"]) == ("VALID", in_grace)

    @pytest.mark.parametrize(("minutes", "in_grace"), [(5, False), (6, True), (3 * 24 * 60 + 5, True)])
    async def test_the_receipt_tells_the_grace(self, minutes: int, in_grace: bool, world: World, issue: Issue) -> None:
        issued = await issue("key", expires_at=at(minutes=5), grace_days=3)
        world.clock.advance(minutes=minutes)
        nonce = new_nonce()

        session = await Caller(world.app).show_key(issued.secret, nonce=nonce)

        assert session.status_code == 201, session.text
        told = claims(issued, nonce, session.json())
        assert told is not None
        assert told["in_grace"] is in_grace

    async def test_the_client_gets_the_truth_in_grace(self, world: World, issue: Issue, digits: data.Dataset) -> None:
        issued = await issue("fingerprint", expires_at=at(minutes=5), grace_days=3)
        world.clock.advance(days=2)
        async with client_of(world, issued.text) as client:
            assert (await client.predict(world.picture)).label == str(digits.test.labels[0])


class TestNotFound:
    """Whatever fails its check is NOT_FOUND; the model's policy says what that looks like."""

    @pytest.mark.parametrize("route", HTTP)
    async def test_decoy_model(self, route: Route, world: World, issue: Issue) -> None:
        true = (await world.predict(await issue("key"))).json()["predictions"]
        answer = await self._ask(world, route, await self._strangers_token(world))
        if route in SESSIONS:
            assert answer.status_code == 201
        else:
            assert answer.json()["predictions"][0]["scores"] != true[0]["scores"]
        assert await world.refusals() == {"NOT_FOUND": 2}  # the token's session and this one

    @pytest.mark.parametrize("route", HTTP)
    async def test_deny_model(self, route: Route, world: World, issue: Issue) -> None:
        token = await self._strangers_token(world)
        await world.add_version(unauthorized_policy="deny")

        answer = await self._ask(world, route, token)

        assert (answer.status_code, answer.json()["code"]) == (403, "NOT_FOUND")
        assert "Retry-After" not in answer.headers
        operation = "session" if route in SESSIONS else "predict"
        assert world.verdicts(operation)["NOT_FOUND"] >= 1
        assert await world.refusals() == {"NOT_FOUND": 2}
        strangers = world.gateway.book.models["digits"].id
        async with world.gateway.sessions() as session:
            open_units = await session.scalar(
                select(func.sum(Reservation.units)).where(Reservation.account_id == strangers)
            )
        assert not open_units, "what a denied request reserved goes back"

    @pytest.mark.parametrize(
        ("policy", "raised"), [("decoy", signet_client.SessionUnproved), ("deny", signet_client.NotLicensed)]
    )
    async def test_the_client_never_gets_as_far_as_asking(
        self, policy: str, raised: type[Exception], world: World, issue: Issue
    ) -> None:
        issued = await issue("key")
        await world.add_version("letters", unauthorized_policy=policy)
        stranger = other_model_file(world, issued)
        async with client_of(world, stranger) as client:
            with pytest.raises(raised):
                await client.predict(world.picture)
        assert world.verdicts("predict") == {}

    async def _strangers_token(self, world: World) -> str:
        session = await Caller(world.app).show_key(Key.mint("sgn").text)
        token: str = session.json()["token"]
        return token

    async def _ask(self, world: World, route: Route, token: str) -> httpx.Response:
        caller = Caller(world.app)
        if route == Route.SESSION_BY_KEY:
            return await caller.show_key(Key.mint("sgn").text)
        if route == Route.SESSION_BY_FINGERPRINT:
            return await caller.show_fingerprint(world.picture)
        return await caller.predict([world.picture], token if route == Route.PREDICT_BY_TOKEN else Key.mint("sgn").text)
