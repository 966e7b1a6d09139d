"""The batcher: greedy, fair between lanes, bounded; a batch that fails is its own callers' trouble."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.requests import ClientDisconnect

from models import data
from service.errors import DeadlinePassed, Overloaded
from service.gateway import Gateway
from service.inference.batcher import Batcher, Patience
from service.inference.statistics import Statistics
from service.metrics import Metrics
from service.settings import Settings
from tests.service.asking import Caller, network_held, on_sqlite, sample, until
from tests.service.conftest import Issue


class Network:
    """Answers the number that an input holds; records its batches, waits while `gate` is closed."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[list[float]] = []
        self.version = SimpleNamespace(id="ver", model_name="digits")

    def answer(self, inputs: Any, authorized: Any) -> Any:
        values = inputs[:, 0, 0, 0]
        if (values < 0).any():
            raise RuntimeError("a network that fails")
        self.batches.append([float(value) for value in values])
        return np.stack([values, authorized.astype(np.float32)], axis=1)

    async def run(self, work: Any) -> Any:
        await self.gate.wait()
        await asyncio.sleep(0)
        return work()


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def batcher(network: Network) -> AsyncIterator[Batcher]:
    batcher: Any = Batcher(network, Metrics(), Statistics(), max_batch=8, max_queued=20)  # type: ignore[arg-type]
    batcher.start()
    yield batcher
    await batcher.stop()


def inputs(*values: float) -> Any:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1, 1)


async def queued(batcher: Batcher, network: Network, *asked: tuple[str, tuple[float, ...]]) -> list[Any]:
    """Put requests into the queue behind a closed gate, one after another, and open it."""
    network.gate.clear()
    first = asyncio.create_task(batcher.submit(network, inputs(0), authorized=True, lane="first"))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks = []
    for lane, values in asked:
        tasks.append(
            asyncio.create_task(batcher.submit(network, inputs(*values), authorized=lane != "strangers", lane=lane))  # type: ignore[arg-type]
        )
        await asyncio.sleep(0)
    network.gate.set()
    answers = await asyncio.gather(first, *tasks, return_exceptions=True)
    del network.batches[0]  # the first one's
    return answers[1:]


async def test_what_waits_goes_together_and_everybody_gets_his_own(batcher: Batcher, network: Network) -> None:
    answers = await queued(batcher, network, ("a", (1, 2)), ("strangers", (3,)), ("b", (4, 5, 6)))
    assert [answer.tolist() for answer in answers] == [[[1, 1], [2, 1]], [[3, 0]], [[4, 1], [5, 1], [6, 1]]]
    assert [len(batch) for batch in network.batches] == [6]


async def test_no_batch_is_larger_than_the_largest(batcher: Batcher, network: Network) -> None:
    asked = [(f"lane {i % 3}", (float(i), float(i))) for i in range(13)]
    answers = await queued(batcher, network, *asked)
    assert [answer[0, 0] for answer in answers] == [float(i) for i in range(13)]
    assert max(len(batch) for batch in network.batches) <= 8


async def test_a_request_larger_than_a_batch_goes_alone_in_pieces(batcher: Batcher, network: Network) -> None:
    answers = await queued(batcher, network, ("a", (1,)), ("b", tuple(float(i) for i in range(20))), ("c", (3,)))
    assert answers[1][:, 0].tolist() == [float(i) for i in range(20)]
    assert max(len(batch) for batch in network.batches) <= 8


async def test_lanes_take_turns(batcher: Batcher, network: Network) -> None:
    """Nineteen requests of one do not make the other's first wait for them all."""
    flood = [("flood", (10.0, 10.0, 10.0, 10.0))] * 18
    await queued(batcher, network, *flood, ("other", (1.0,)))
    position = next(i for i, batch in enumerate(network.batches) if 1.0 in batch)
    assert position <= 1, network.batches


async def test_a_full_queue_is_said(batcher: Batcher, network: Network) -> None:
    answers = await queued(batcher, network, *[("a", (1.0,))] * 25)
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert len(refused) == 5
    assert (refused[0].status, refused[0].headers["Retry-After"]) == (503, "1")
    assert len(await queued(batcher, network, ("a", (2.0,)))) == 1, "and over when it is worked off"


async def test_a_batch_that_fails_fails_its_own_callers_only(batcher: Batcher, network: Network) -> None:
    failed = await queued(batcher, network, ("a", (-1.0,)), ("b", (2.0,)))
    assert [type(answer) for answer in failed] == [RuntimeError, RuntimeError]
    answers = await queued(batcher, network, ("a", (3.0,)), ("b", (4.0,)))
    assert [answer[0, 0] for answer in answers] == [3.0, 4.0]


async def test_who_left_costs_no_forward_pass(batcher: Batcher, network: Network) -> None:
    network.gate.clear()
    tasks = [
        asyncio.create_task(batcher.submit(network, inputs(value), authorized=True, lane=str(value)))  # type: ignore[arg-type]
        for value in (0.0, 1.0, 2.0, 3.0)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(batcher.submit(network, inputs(4.0), authorized=True, lane="late")))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    tasks[4].cancel()
    with suppress(asyncio.CancelledError):
        await tasks[4]
    network.gate.set()
    await asyncio.gather(*tasks[:4])
    await asyncio.sleep(0.01)
    assert not any(4.0 in batch for batch in network.batches)
    assert batcher._queued == 0


async def waiting(batcher: Batcher, network: Network, *patiences: Patience | None) -> list[Any]:
    """Requests for 0, 1, 2...: the first is with the network, whose gate is closed, and the others are in the queue."""
    network.gate.clear()
    tasks = []
    for value, patience in enumerate(patiences):
        asked = batcher.submit(network, inputs(value), authorized=True, lane="a", patience=patience)  # type: ignore[arg-type]
        tasks.append(asyncio.create_task(asked))
        await asyncio.sleep(0.001)
    return tasks


async def test_an_answer_that_comes_too_late_costs_no_forward_pass(batcher: Batcher, network: Network) -> None:
    soon = Patience(time.perf_counter_ns() + 20_000_000)
    late = Patience(time.perf_counter_ns() + 60_000_000_000)
    tasks = await waiting(batcher, network, None, soon, late)
    await asyncio.sleep(0.05)
    network.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[1], DeadlinePassed)
    assert answers[2][0, 0] == 2.0
    assert network.batches == [[0.0], [2.0]]


async def test_whoever_has_waited_long_is_asked_for(
    batcher: Batcher, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.inference.batcher._LONG_NS", 50_000_000)

    async def here() -> bool:
        return False

    async def gone() -> bool:
        return True

    async def broken() -> bool:
        raise RuntimeError("his own trouble")

    every = (gone, here, gone, broken)
    tasks = await waiting(batcher, network, *(Patience(gone=one) for one in every))
    await asyncio.sleep(0.1)
    network.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[0][0, 0] == 0.0, "nobody looked: its turn came at once"
    assert answers[1][0, 0] == 1.0
    assert [type(answer) for answer in answers[2:]] == [ClientDisconnect, RuntimeError]
    assert network.batches == [[0.0], [1.0]]


async def test_whoever_waits_when_the_gateway_stops_is_told(network: Network) -> None:
    """Also who is in the batch that is under way: nobody waits for ever."""
    batcher: Any = Batcher(network, Metrics(), Statistics(), max_batch=1, max_queued=20)  # type: ignore[arg-type]
    batcher.start()
    network.gate.clear()
    tasks = [
        asyncio.create_task(batcher.submit(network, inputs(value), authorized=True, lane="a")) for value in (1.0, 2.0)
    ]
    await asyncio.sleep(0.01)
    await batcher.stop()
    async with asyncio.timeout(1):
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Overloaded, Overloaded]


@on_sqlite
class TestOverHttp:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_queued": 3})

    async def test_a_full_queue_is_503_and_charges_nothing(
        self, app: FastAPI, gateway: Gateway, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
    ) -> None:
        issued = await issue("key", quota=100)
        await Caller(app).predict([sample(digits)])
        async with network_held(gateway):
            asking = [asyncio.create_task(Caller(app).predict([sample(digits)], issued.secret)) for _ in range(12)]

            async def some_refused() -> bool:
                return any(task.done() for task in asking)

            await until(some_refused)
        answers = [await task for task in asking]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert refused
        assert {answer.status_code for answer in answers} == {200, 503}
        assert refused[0].headers["Retry-After"] == "1"
        assert refused[0].json()["code"] == "OVERLOADED"
        shown = (await admin.get(f"/v1/licenses/{issued.id}")).json()
        assert shown["used"] == len(answers) - len(refused)
