"""`revoked_policy=decoy`: a revoked license may be answered as a stranger is, and no other refusal may be hidden."""

import pytest
import signet_client

from service.control.verdict import Code
from tests.service.asking import on_sqlite, used
from tests.service.conftest import Issue
from tests.service.control.conftest import World
from tests.service.control.stories import (
    HTTP,
    SESSIONS,
    Happening,
    Licensee,
    Route,
    Row,
    at,
    client_of,
    later,
    licensed,
    revoked,
    suspended,
)

pytestmark = on_sqlite


@pytest.mark.parametrize("strangers", ["decoy", "deny"])
@pytest.mark.parametrize("route", HTTP)
async def test_on_each_route(route: Route, strangers: str, world: World, issue: Issue) -> None:
    row = Row(Code.REVOKED, {}, revoked)
    issued = await licensed(row, route, world, issue)
    true = (await world.predict(issued)).json()["predictions"]
    licensee = Licensee(world, route, issued)
    await licensee.opens()
    await world.add_version(unauthorized_policy=strangers, revoked_policy="decoy")
    await row.then(world, issued)
    consumed = await used(world.admin, issued)

    answer = await licensee.asks(row)

    assert answer.is_success, answer.text
    if route in SESSIONS:
        assert set(answer.json()) == {"token", "expires_at", "model", "receipt"}
    else:
        assert answer.json()["predictions"][0]["scores"] != true[0]["scores"]
    assert await used(world.admin, issued) == consumed, "a decoy is not the licensee's to pay"
    assert (await world.refusals())["REVOKED"] == 1, "the issuer is told what it was"


async def test_the_client_is_not_fooled(world: World, issue: Issue) -> None:
    issued = await issue("fingerprint")
    await world.add_version(revoked_policy="decoy")
    await revoked(world, issued)
    async with client_of(world, issued.text) as client:
        with pytest.raises(signet_client.SessionUnproved):
            await client.predict(world.picture)


@pytest.mark.parametrize("happening", [suspended, later(days=2)], ids=["SUSPENDED", "EXPIRED"])
async def test_nothing_else_is_hidden(happening: Happening, world: World, issue: Issue) -> None:
    issued = await issue("key", expires_at=at(days=1))
    await world.add_version(revoked_policy="decoy")
    await happening(world, issued)
    assert (await world.predict(issued)).status_code == 403
