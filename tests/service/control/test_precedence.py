"""When several things are wrong at once, the earlier code of the closed set is what is said."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations
from typing import Any

from service.clock import rfc3339
from service.control.verdict import Code
from service.ids import id_bytes
from service.keys import Key
from tests.service.asking import Caller, on_sqlite, used
from tests.service.conftest import NOW, Issue, Issued
from tests.service.control.conftest import World


def at(**delta: float) -> str:
    return rfc3339(NOW + timedelta(**delta))


@dataclass(frozen=True, eq=False)
class Condition:
    """One thing that is wrong, two days after the license was issued."""

    code: Code
    terms: Mapping[str, Any] = field(default_factory=dict)
    act: str = ""
    images: int = 1
    model: str = "digits"
    taken: bool = False  # a place is taken, and with it a turn
    dry: bool = True  # the issuer's dry run sees it


CONDITIONS = (
    Condition(Code.REVOKED, act="revoke"),
    Condition(Code.SUSPENDED, act="suspend"),
    Condition(Code.NOT_YET_VALID, {"not_before": at(days=3)}),
    Condition(Code.EXPIRED, {"expires_at": at(days=1)}),
    Condition(Code.CHECK_IN_OVERDUE, {"check_in_days": 1}),
    Condition(Code.MODEL_SCOPE_MISMATCH, model="letters", dry=False),
    Condition(Code.VERSION_SCOPE_MISMATCH, {"versions": [7]}),
    Condition(Code.OPERATION_SCOPE_MISMATCH, {"operations": ["session"]}),
    Condition(Code.NETWORK_SCOPE_MISMATCH, {"networks": ["10.0.0.0/8"]}),
    Condition(Code.TOO_MANY_IMAGES, {"max_images_per_request": 1}, images=2),
    Condition(Code.QUOTA_EXCEEDED, {"quota": 1}, images=2),
    Condition(Code.CONCURRENCY_EXCEEDED, {"max_concurrency": 1}, taken=True, dry=False),
    Condition(Code.RATE_LIMITED, {"rate_per_minute": 1}, taken=True, dry=False),
)
PAIRS = [
    pair
    for pair in combinations(CONDITIONS, 2)
    if {one.code for one in pair} != {Code.NOT_YET_VALID, Code.EXPIRED}  # no license can be both
]


def test_the_conditions_are_all_there_are_and_in_order() -> None:
    assert [one.code for one in CONDITIONS] == [code for code in Code if code not in (Code.NOT_FOUND, Code.VALID)]


async def with_both_wrong(world: World, issue: Issue) -> list[tuple[Condition, Condition, Issued]]:
    """A license for each pair, two days old."""
    await world.add_version("letters")
    issued = [(one, other, await issue("key", **one.terms, **other.terms)) for one, other in PAIRS]
    world.clock.advance(days=2)
    for one, other, license in issued:
        for verb in filter(None, (other.act, one.act)):  # suspended first: a revoked license cannot be
            await world.act(license, verb)
        if one.taken or other.taken:
            world.one_under_way(license)
    return issued


@on_sqlite
async def test_licensee_and_issuer_are_told_the_earlier_of_two(world: World, issue: Issue) -> None:
    said, tried = {}, {}
    for one, other, issued in await with_both_wrong(world, issue):
        images = max(one.images, other.images)
        model = "letters" if "letters" in (one.model, other.model) else "digits"
        answer = await Caller(world.app).predict([world.picture] * images, issued.secret, model=model)
        said[one.code, other.code] = answer.json().get("code")
        verdict = await world.admin.get(f"/v1/licenses/{issued.id}/verdict", params={"images": images})
        tried[one.code, other.code] = verdict.json()["code"]
        assert await used(world.admin, issued) == 0, (one.code, other.code)

    assert said == {(one.code, other.code): one.code for one, other in PAIRS}
    visible = {pair: [one.code for one in pair if one.dry] for pair in PAIRS}
    assert tried == {(one.code, other.code): (visible[one, other] or [Code.VALID])[0] for one, other in PAIRS}


@on_sqlite
async def test_what_is_unknown_is_nothing_but_unknown(world: World, issue: Issue) -> None:
    """NOT_FOUND comes first: whoever does not hold the credential learns nothing of a license's state."""
    issued = await issue("key")
    await world.act(issued, "revoke")
    answers = [
        await Caller(world.app).predict([world.picture], secret)
        for secret in (None, issued.secret[:-1] + "-", Key.mint("sgn").text)
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.content for answer in answers}) == 1


@on_sqlite
class TestNothingIsConsumedUnlessValid:
    """A refusal takes no unit, no place and no turn."""

    async def test_a_refused_request_takes_no_turn(self, world: World, issue: Issue) -> None:
        issued = await issue("key", rate_per_minute=1, quota=1)
        for _ in range(3):
            assert (await world.predict(issued, 2)).json()["code"] == "QUOTA_EXCEEDED"
        assert (await world.predict(issued)).status_code == 200, "the one turn of this minute is still there"
        assert (await world.predict(issued)).json()["code"] == "QUOTA_EXCEEDED"

    async def test_malformed_input_takes_nothing(self, world: World, issue: Issue) -> None:
        issued = await issue("key", rate_per_minute=1, quota=1, max_concurrency=1)
        for _ in range(3):
            assert (await Caller(world.app).predict([b"no picture"], issued.secret)).status_code == 415
        assert (await world.predict(issued)).status_code == 200

    async def test_places_come_back_after_refusals_and_answers(self, world: World, issue: Issue) -> None:
        issued = await issue("key", max_concurrency=1, max_images_per_request=1)
        license = world.gateway.book.license(id_bytes(issued.id))
        for images in (1, 2, 1, 2, 1):
            answer = await world.predict(issued, images)
            assert answer.status_code == (200 if images == 1 else 403)
        world.one_under_way(issued)
        assert (await world.predict(issued)).json()["code"] == "CONCURRENCY_EXCEEDED"
        assert license is not None
        world.gateway.limits.leave(license, unused=False)
        assert (await world.predict(issued)).status_code == 200

    async def test_a_rate_limited_licensee_who_waits_as_told_is_served(self, world: World, issue: Issue) -> None:
        issued = await issue("key", rate_per_minute=7)
        answers = [await world.predict(issued) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 7 + [429]
        wait = int(answers[-1].headers["Retry-After"])
        world.clock.advance(seconds=wait - 1)
        assert (await world.predict(issued)).status_code == 429
        world.clock.advance(seconds=1)
        assert (await world.predict(issued)).status_code == 200
