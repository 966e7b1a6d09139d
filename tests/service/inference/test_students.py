"""Students in memory: as many as the setting says, whoever is put out finishes, and a damaged one is said to be."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from numpy.typing import NDArray

from models import data
from service.inference import students
from service.settings import Settings
from tests.service.asking import labels, network_held, used
from tests.service.conftest import SetClock
from tests.service.stamped import OWN, OWN_TOO, SHARED, SHARED_TOO, Prepared, World, once, running

pytestmark = once
EVERYBODY = (OWN, SHARED, OWN_TOO, SHARED_TOO)


@pytest.fixture
async def world(stamped_settings: tuple[Prepared, Settings], clock: SetClock) -> AsyncIterator[World]:
    """With room for one student."""
    prepared, settings = stamped_settings
    async with running(prepared, settings.model_copy(update={"students_kept": 1}), clock) as narrow:
        yield narrow


@pytest.fixture
def levels(digits: data.Dataset) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = digits.test.images[:5]
    return images


async def test_the_last_one_asked_for_is_kept(world: World, levels: NDArray[np.uint8]) -> None:
    for who in EVERYBODY * 2:
        answer = await world.ask(world.stamped(who, levels))
        assert world.gateway.student_cache.kept == ((await world.student(who)).record.id,)
        assert labels(answer) == await world.offline(who, levels)


async def test_one_that_is_put_out_while_it_answers_finishes(world: World, levels: NDArray[np.uint8]) -> None:
    expected = {who: await world.offline(who, levels) for who in EVERYBODY}
    tasks = []
    async with network_held(world.gateway):
        for who in EVERYBODY * 5:
            tasks.append(asyncio.create_task(world.ask(world.stamped(who, levels))))
            await asyncio.sleep(0.002)
    answers = await asyncio.gather(*tasks)
    assert [labels(answer) for answer in answers] == [expected[who] for who in EVERYBODY * 5]
    assert len(world.gateway.student_cache.kept) == 1


async def test_each_is_loaded_once_for_all_who_wait(world: World, levels: NDArray[np.uint8]) -> None:
    loaded = await asyncio.gather(*(world.student(SHARED) for _ in range(8)))
    assert len({id(one) for one in loaded}) == 1


async def test_a_damaged_one_is_refused_to_its_licensee_alone_and_served_once_it_is_mended(
    world: World, levels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(students, "RETRY_AFTER_S", 0.05)
    expected = await world.offline(OWN, levels)
    path = world.settings.home / "students" / (await world.student(OWN)).record.id / "weights.safetensors"
    await world.student(SHARED)  # puts it out
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for _ in range(2):
        answer = await world.ask(world.stamped(OWN, levels))
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, "student")
    assert await used(world.admin, world.licenses[OWN]) == 0
    assert labels(await world.ask(world.stamped(SHARED, levels))) == await world.offline(SHARED, levels)
    path.write_bytes(whole)
    await asyncio.sleep(0.06)
    assert labels(await world.ask(world.stamped(OWN, levels))) == expected


async def test_one_that_could_not_be_loaded_for_want_of_memory_is_loaded_when_there_is_some(
    world: World, levels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await world.offline(OWN, levels)
    await world.student(SHARED)  # puts it out

    def full(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(students, "decode_weights", full)
        assert (await world.ask(world.stamped(OWN, levels))).status_code == 500
    assert labels(await world.ask(world.stamped(OWN, levels))) == expected


async def test_it_shows_no_number(world: World) -> None:
    shown = repr(await world.student(OWN))
    assert world.licenses[OWN].id in shown
    assert "number=tensor" not in shown
