"""Wrong stamps are limited by address, before anything is decoded; who shares it with a guesser has a way around."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from models import data
from service.catalogue.artefacts import Artefact
from service.settings import Settings
from tests.service.asking import ELSEWHERE, Caller, labels
from tests.service.conftest import SetClock, artefact_files
from tests.service.stamped import KEY, OWN, SHARED, Prepared, World, once, running

pytestmark = once
LIMIT = 3
GUESSER = "198.51.100.9"


@pytest.fixture
async def world(stamped_settings: tuple[Prepared, Settings], clock: SetClock) -> AsyncIterator[World]:
    """With room for three wrong stamps a minute."""
    prepared, settings = stamped_settings
    async with running(prepared, settings.model_copy(update={"stamp_misses_per_minute": LIMIT}), clock) as limited:
        yield limited


@pytest.fixture
def levels(digits: data.Dataset) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = digits.test.images[:2]
    return images


def guess(world: World, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A whole number that nobody has."""
    stamped = world.stamped(OWN, levels).reshape(len(levels), -1)
    steps = np.frombuffer(world.licenses[OWN].file.credential.plan, "<i4")  # type: ignore[union-attr]
    stamped[:, np.flatnonzero(steps < 0)[5]] ^= 255
    return stamped.reshape(levels.shape)


async def use_up(world: World, levels: NDArray[np.uint8], address: str = GUESSER) -> None:
    for _ in range(LIMIT):
        assert (await world.ask(guess(world, levels), address=address)).status_code == 200
    answer = await world.ask(guess(world, levels), address=address)
    assert (answer.status_code, answer.json()["code"]) == (429, "ADDRESS_LIMITED")


async def garbage(world: World, address: str, **headers: Any) -> httpx.Response:
    """Whoever decodes this says 422."""
    http = Caller(world.app, address).http
    sent = {"Content-Type": "application/x-npy", **headers}
    return await http.post("/v1/models/digits/predict", content=b"\x93NUMPY", headers=sent)


async def test_the_next_is_told_when_to_come_back_and_nothing_is_decoded(
    world: World, clock: SetClock, levels: NDArray[np.uint8]
) -> None:
    assert (await garbage(world, GUESSER)).status_code == 422
    await use_up(world, levels)
    answer = await garbage(world, GUESSER)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "20")
    assert answer.json()["retry_after"] == 20
    clock.advance(seconds=20)
    assert (await garbage(world, GUESSER)).status_code == 422
    assert (await world.ask(guess(world, levels), address=GUESSER)).status_code == 200
    assert (await garbage(world, GUESSER)).status_code == 429


async def test_a_licensee_at_the_same_address_opens_a_session_and_goes_on(
    world: World, levels: NDArray[np.uint8]
) -> None:
    await use_up(world, levels)
    bare = await world.ask(world.stamped(OWN, levels), address=GUESSER)
    assert (bare.status_code, "open a session" in bare.json()["detail"]) == (429, True)
    for who in (OWN, SHARED):
        token = (await world.open_session(who, GUESSER)).json()["token"]
        answer = await world.ask(world.stamped(who, levels), token, address=GUESSER)
        assert labels(answer) == await world.offline(who, levels)
    assert (await world.ask(levels, world.licenses[KEY].secret, address=GUESSER)).status_code == 200


async def test_a_strangers_session_is_no_way_around(world: World, levels: NDArray[np.uint8]) -> None:
    await use_up(world, levels)
    token = (await Caller(world.app, GUESSER).show_key("sgn_nobodys")).json()["token"]
    assert (await world.ask(guess(world, levels), token, address=GUESSER)).status_code == 429


async def test_addresses_are_counted_one_by_one_and_ipv6_by_its_64(world: World, levels: NDArray[np.uint8]) -> None:
    await use_up(world, levels, "2001:db8:1:2::1")
    for address, status in (("2001:db8:1:2:ffff::9", 429), ("2001:db8:1:3::1", 422), (ELSEWHERE, 422)):
        assert (await garbage(world, address)).status_code == status
    await use_up(world, levels, "192.0.2.7")
    assert (await garbage(world, "::ffff:192.0.2.7")).status_code == 429


async def test_pictures_without_a_stamp_and_licensees_count_for_nothing(
    world: World, levels: NDArray[np.uint8]
) -> None:
    for _ in range(LIMIT + 1):
        for images in (levels, world.stamped(OWN, levels)):
            assert (await world.ask(images, address=GUESSER)).status_code == 200
    await world.admin.post(f"/v1/licenses/{world.licenses[OWN].id}/suspend")
    for _ in range(LIMIT + 1):
        answer = await world.ask(world.stamped(OWN, levels), address=GUESSER)
        assert answer.json()["code"] == "SUSPENDED", "known, and told so every time"


async def test_they_count_too_where_the_version_asked_has_no_students(
    world: World, levels: NDArray[np.uint8], artefact: Artefact
) -> None:
    assert (await world.admin.post("/v1/models", files=artefact_files(artefact))).status_code == 201
    await use_up(world, levels)
    assert (await garbage(world, GUESSER)).status_code == 429
