"""Strangers share one narrow gate while licensees are served, and the whole gateway otherwise."""

import asyncio
from contextlib import AsyncExitStack, suppress

import httpx
import pytest
from fastapi import FastAPI

from models import data
from service.control import admission
from service.control.admission import Admission
from service.errors import Overloaded
from service.gateway import Gateway
from tests.service.asking import Caller, network_held, on_sqlite, sample, until
from tests.service.conftest import Issue

QUIET_S = 0.05


@pytest.fixture(autouse=True)
def soon_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A licensee counts for 50 ms after its last request instead of a second: the tests wait for less."""
    monkeypatch.setattr(admission, "_QUIET_S", QUIET_S)


class Crowd:
    """Callers who hold their turn until they are told to go."""

    def __init__(self, gate: Admission) -> None:
        self.gate = gate
        self.inside = 0
        self.leave = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, count: int) -> None:
        self.tasks += [asyncio.create_task(self._hold()) for _ in range(count)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _hold(self) -> None:
        async with self.gate.turn(proved=False):
            self.inside += 1
            try:
                await self.leave.wait()
            finally:
                self.inside -= 1

    async def go(self) -> None:
        self.leave.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def licensees(gate: Admission, count: int) -> AsyncExitStack:
    stack = AsyncExitStack()
    for _ in range(count):
        await stack.enter_async_context(gate.turn(proved=True))
    return stack


@pytest.mark.parametrize(("under_way", "places"), [(1, 1), (4, 1), (8, 2), (20, 5), (40, 10)])
async def test_strangers_get_a_fifth_of_what_is_under_way(under_way: int, places: int) -> None:
    gate = Admission(0.2, 64, 1000)
    async with await licensees(gate, under_way):
        crowd = Crowd(gate)
        await crowd.come(100)
        assert crowd.inside == places
        await crowd.go()
    assert (gate._strangers, gate._licensees) == (0, 0)


async def test_without_licensees_the_gate_is_open() -> None:
    gate = Admission(0.2, 64, 1000)
    crowd = Crowd(gate)
    await crowd.come(100)
    assert crowd.inside == 64
    await crowd.go()


async def test_licensees_never_wait() -> None:
    gate = Admission(0.2, 4, 1000)
    crowd = Crowd(gate)
    await crowd.come(50)
    async with asyncio.timeout(1), await licensees(gate, 100):
        pass
    await crowd.go()


async def test_the_gate_opens_again_soon_after_the_last_licensee() -> None:
    gate = Admission(0.2, 64, 1000)
    crowd = Crowd(gate)
    async with await licensees(gate, 1):
        await crowd.come(50)
    await asyncio.sleep(0)
    assert crowd.inside == 1, "a closed loop pauses between two requests"
    await asyncio.sleep(3 * QUIET_S)
    assert crowd.inside == 50
    await crowd.go()


async def test_who_came_first_enters_first() -> None:
    gate, entered = Admission(0.2, 64, 1000), list[int]()

    async def stranger(number: int) -> None:
        async with gate.turn(proved=False):
            entered.append(number)
            await asyncio.sleep(0)

    async with await licensees(gate, 1):
        await asyncio.gather(*(stranger(number) for number in range(30)))
    assert entered == list(range(30))


async def test_too_many_who_wait_are_told_to_come_back() -> None:
    gate = Admission(0.2, 64, 5)
    async with await licensees(gate, 1):
        crowd = Crowd(gate)
        await crowd.come(6)
        with pytest.raises(Overloaded):
            async with gate.turn(proved=False):
                pass
        await crowd.go()


@pytest.mark.parametrize("ticks", range(6))
async def test_leaving_at_any_moment_loses_no_place(ticks: int) -> None:
    gate = Admission(0.2, 64, 1000)
    async with await licensees(gate, 5):
        for _ in range(20):
            crowd = Crowd(gate)
            await crowd.come(10)
            crowd.leave.set()
            for _ in range(ticks):
                await asyncio.sleep(0)
            for task in crowd.tasks[::2]:
                task.cancel()
            await crowd.go()
        assert gate._strangers == 0
        crowd = Crowd(gate)
        await crowd.come(10)
        assert crowd.inside == 1, "the place is there"
        await crowd.go()


async def test_who_left_the_queue_takes_no_room_in_it() -> None:
    gate = Admission(0.2, 64, 5)
    async with await licensees(gate, 1):
        first, gone = Crowd(gate), Crowd(gate)
        await first.come(1)
        await gone.come(5)
        for task in gone.tasks:
            task.cancel()
        await asyncio.gather(*gone.tasks, return_exceptions=True)
        others = Crowd(gate)
        await others.come(5)
        assert [task.done() for task in others.tasks] == [False] * 5
        await first.go()
        await others.go()


@on_sqlite
async def test_over_http_a_flood_of_strangers_does_not_stop_a_licensee(
    app: FastAPI, gateway: Gateway, issue: Issue, digits: data.Dataset
) -> None:
    issued, picture = await issue("key"), sample(digits)
    await Caller(app).predict([picture])

    async def ask(secret: str | None) -> httpx.Response:
        return await Caller(app).predict([picture], secret)

    async with network_held(gateway):
        licensee = asyncio.create_task(ask(issued.secret))

        async def waiting() -> bool:
            return gateway.admission._licensees == 1

        await until(waiting)
        flood = [asyncio.create_task(ask(None)) for _ in range(60)]
        await asyncio.sleep(0.2)
        assert gateway.admission._strangers == 1, "one stranger is let in beside one licensee"
        second = asyncio.create_task(ask(issued.secret))

        async def both() -> bool:
            return gateway.admission._licensees == 2

        await until(both)
        flood[30].cancel()
        with suppress(asyncio.CancelledError):
            await flood[30]
    assert [(await one).status_code for one in (licensee, second)] == [200, 200]
    answers = [await one for one in flood if not one.cancelled()]
    assert {answer.status_code for answer in answers} == {200}
    assert len(answers) == 59
    assert gateway.admission._strangers == 0


async def test_a_share_of_one_leaves_the_gate_open() -> None:
    gate = Admission(1.0, 64, 1000)
    async with await licensees(gate, 1):
        pass
    crowd = Crowd(gate)  # no licensee is under way, but one just was
    await crowd.come(64)
    assert crowd.inside == 64
    await crowd.go()


async def test_whoever_turns_out_to_be_a_licensee_leaves_the_strangers_place_to_the_next() -> None:
    gate = Admission(0.2, 64, 1000)
    async with await licensees(gate, 1):
        crowd = Crowd(gate)
        async with gate.turn(proved=False) as turn:
            await crowd.come(5)
            assert crowd.inside == 0
            turn.promote()
            turn.promote()  # once is enough
            await asyncio.sleep(0)
            assert crowd.inside == 1
            assert (gate._strangers, gate._licensees) == (1, 2)
        await crowd.go()
    assert (gate._strangers, gate._licensees) == (0, 0)
