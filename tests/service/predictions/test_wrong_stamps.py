"""Wrong, missing and mixed stamps: nobody's, whatever else is shown; and what a stranger can tell of it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models import data
from service.keys import Key
from tests.service.asking import Caller, labels, used
from tests.service.stamped import KEY, OWN, OWN_TOO, SHARED, SHARED_TOO, World, once

pytestmark = once
Levels = NDArray[np.uint8]


@pytest.fixture
def levels(digits: data.Dataset) -> Levels:
    """Held-out digits, (60, 1, 28, 28)."""
    images: Levels = digits.test.images[:60]
    return images


def cells(world: World) -> NDArray[np.intp]:
    """The pixels that stamps set."""
    steps = np.frombuffer(world.licenses[OWN].file.credential.plan, "<i4")  # type: ignore[union-attr]
    return np.flatnonzero(steps < 0)


def numbered(world: World, levels: Levels, bits: NDArray[np.bool_]) -> Levels:
    """Images (N, 1, 28, 28) with any number, (64,) or one each."""
    stamped = levels.copy().reshape(len(levels), -1)
    stamped[:, cells(world)] = np.where(bits, 255, 0)
    return stamped.reshape(levels.shape)


def random_bits(seed: int) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random(64) < 0.5


def one_bit_off(world: World, levels: Levels) -> Levels:
    stamped = world.stamped(OWN, levels).reshape(len(levels), -1)
    stamped[:, cells(world)[17]] ^= 255
    return stamped.reshape(levels.shape)


def one_level_off(world: World, levels: Levels) -> Levels:
    stamped = world.stamped(OWN, levels).reshape(len(levels), -1)
    stamped[:, cells(world)[17]] ^= 1
    return stamped.reshape(levels.shape)


def one_image_with(who: str | None) -> Callable[[World, Levels], Levels]:
    """A licensee's images, and one in the middle that bears another's stamp, or none."""

    def mixed(world: World, levels: Levels) -> Levels:
        stamped = world.stamped(OWN, levels)
        stamped[30] = levels[30] if who is None else world.stamped(who, levels[30])
        return stamped

    return mixed


WRONG: dict[str, Callable[[World, Levels], NDArray[Any]]] = {
    "none": lambda world, levels: levels,
    "a random number": lambda world, levels: numbered(world, levels, random_bits(0)),
    "all black": lambda world, levels: numbered(world, levels, np.zeros(64, np.bool_)),
    "one bit off": one_bit_off,
    "one grey level off": one_level_off,
    "one without": one_image_with(None),
    "one of another's": one_image_with(OWN_TOO),
    "one of another's on the shared student": one_image_with(SHARED),
    "a random one each": lambda world, levels: numbered(
        world, levels, np.random.default_rng(1).random((len(levels), 64)) < 0.5
    ),
    "between two levels": lambda world, levels: np.clip(
        world.stamped(OWN, levels) / np.float32(255) * np.float32(0.999) + np.float32(0.0005), 0, 1
    ).astype(np.float32),
}


def agreement(found: list[str], digits: data.Dataset) -> int:
    return sum(label == str(truth) for label, truth in zip(found, digits.test.labels, strict=False))


class TestWhatTheyGet:
    @pytest.mark.parametrize("wrong", WRONG)
    async def test_is_decoys_for_the_whole_request_and_nothing_is_counted(
        self, wrong: str, world: World, digits: data.Dataset, levels: Levels
    ) -> None:
        images = WRONG[wrong](world, levels)
        answer = await world.ask(images)
        assert agreement(labels(answer), digits) <= 18, "chance is 6 of 60"
        session = (await world.open_session(OWN)).json()["token"]
        assert (await world.ask(images, session)).content == answer.content, "a session does not mend it"
        assert [await used(world.admin, one) for one in world.licenses.values()] == [0] * 5

    async def test_has_the_form_of_a_licensees_answer(self, world: World, levels: Levels) -> None:
        truth = await world.ask(world.stamped(OWN, levels))
        for images in (make(world, levels) for make in WRONG.values()):
            lie = await world.ask(images)
            assert sorted(lie.headers) == sorted(truth.headers)
            assert [sorted(one) for one in lie.json()["predictions"]] == [
                sorted(one) for one in truth.json()["predictions"]
            ]
            for one in lie.json()["predictions"]:
                assert one["scores"][one["index"]] == max(one["scores"])
                assert sum(one["scores"]) == pytest.approx(1, abs=1e-5)

    async def test_is_uniform_over_the_labels(self, world: World, digits: data.Dataset) -> None:
        images = digits.train.images[:1000]
        counts = Counter(labels(await world.ask(numbered(world, images, random_bits(2)))))
        statistic = sum((counts[str(label)] - 100) ** 2 / 100 for label in range(10))
        assert statistic < 27.9, counts  # chi-square with 9 degrees of freedom, p = 0.001

    async def test_is_the_same_lie_whatever_number_is_tried_and_whoever_tries(
        self, world: World, levels: Levels
    ) -> None:
        first = await world.ask(numbered(world, levels, random_bits(3)))
        for seed in range(4, 8):
            other = await world.ask(numbered(world, levels, random_bits(seed)), address=f"192.0.2.{seed}")
            assert other.content == first.content
        for who in (OWN, SHARED_TOO):  # nor does it change with what is in the cache
            await world.ask(world.stamped(who, levels))
        assert (await world.ask(numbered(world, levels, random_bits(3)))).content == first.content

    async def test_is_a_refusal_where_the_model_denies(self, world: World, levels: Levels) -> None:
        world.gateway.book.models["digits"] = _denying(world)
        for images in (make(world, levels[:40]) for make in WRONG.values()):
            answer = await world.ask(images)
            assert (answer.status_code, answer.json()["code"]) == (403, "NOT_FOUND")
        assert (await world.ask(world.stamped(OWN, levels))).status_code == 200


def _denying(world: World) -> Any:
    from dataclasses import replace

    return replace(world.gateway.book.models["digits"], unauthorized_policy="deny")


class TestBesideAnotherCredential:
    """What is shown beside a stamp must be of the same license."""

    async def test_of_another_license_or_nobodys_it_is_unproved(
        self, world: World, digits: data.Dataset, levels: Levels
    ) -> None:
        stamped, key = world.stamped(OWN, levels), world.licenses[KEY].secret
        decoys = await world.ask(numbered(world, levels, random_bits(3)))
        others = {
            "a licensee's key": key,
            "another's session": (await world.open_session(SHARED)).json()["token"],
            "a stranger's session": (await Caller(world.app).show_key(Key.mint("sgn").text)).json()["token"],
            "nobody's key": Key.mint("sgn").text,
        }
        for what, secret in others.items():
            answer = await world.ask(stamped, secret)
            assert answer.content == decoys.content, what
        assert [await used(world.admin, one) for one in world.licenses.values()] == [0] * 5
        broken = await world.ask(stamped, "x" * 75)
        assert (broken.status_code, broken.json()["code"]) == (401, "SESSION_INVALID")

    async def test_a_session_alone_is_not_enough_for_a_license_by_serial_number(
        self, world: World, digits: data.Dataset, levels: Levels
    ) -> None:
        token = (await world.open_session(OWN)).json()["token"]
        assert agreement(labels(await world.ask(levels, token)), digits) <= 18
        assert agreement(labels(await world.ask(world.stamped(OWN, levels), token)), digits) >= 50

    async def test_a_licensee_by_key_may_send_pictures_that_look_stamped(
        self, world: World, digits: data.Dataset, levels: Levels
    ) -> None:
        key = world.licenses[KEY].secret
        marked = numbered(world, levels, np.zeros(64, np.bool_))
        assert agreement(labels(await world.ask(marked, key)), digits) >= 40
        assert await used(world.admin, world.licenses[KEY]) == 60


class TestWork:
    """As much is done for a stranger as for a licensee with the like images."""

    async def work_of(self, world: World, images: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
        done: list[str] = []
        run = world.gateway.engine.run

        async def noted(work: Any) -> Any:
            done.append(getattr(work, "func", work).__qualname__)
            return await run(work)

        with monkeypatch.context() as patch:
            patch.setattr(type(world.gateway.engine), "run", lambda _, work: noted(work))
            assert (await world.ask(images)).status_code == 200
        return done

    async def test_in_the_torch_thread_is_the_same_for_every_legible_stamp(
        self, world: World, levels: Levels, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cases = {
            "own": world.stamped(OWN, levels),
            "shared": world.stamped(SHARED, levels),
            **{name: make(world, levels) for name, make in WRONG.items()},
        }
        for images in cases.values():  # so that every student is in the cache
            await world.ask(images)
        works = {name: await self.work_of(world, images, monkeypatch) for name, images in cases.items()}
        assert {name: work for name, work in works.items() if work != works["own"]} == {}
        assert len(works["own"]) == 2, "the stamps are read, and a network answers"

    async def test_strangers_are_put_to_a_student_and_never_push_a_licensees_out(
        self, world: World, levels: Levels
    ) -> None:
        for seed in range(5):
            await world.ask(numbered(world, levels, random_bits(seed)))
        (reference,) = world.gateway.student_cache.kept
        assert world.gateway.book.students[reference].license_id is None, "the shared one"
        await world.ask(levels)
        assert world.gateway.student_cache.kept == (reference,)
