"""Greedy batching: take what is queued while the last batch runs, fairly between lanes.

A lane is a license; all strangers share one. Lanes take turns, so one licensee's flood does not starve another.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect

from service.control.book import VersionRecord
from service.errors import DeadlinePassed, Overloaded
from service.inference.engine import Engine
from service.inference.statistics import Statistics
from service.metrics import Metrics

Floats = NDArray[np.float32]
_LONG_NS = 1_000_000_000  # who waits longer is asked for: looking costs as much as a small answer


class Served(Protocol):
    """A network that answers: a version's own, or a student of it."""

    @property
    def version(self) -> VersionRecord: ...

    def answer(self, inputs: Floats, authorized: NDArray[np.bool_]) -> Floats: ...


@dataclass(slots=True)
class Timing:
    """Nanoseconds that one request, in however many pieces, waited for the network, and was in it."""

    queue_ns: int = 0
    infer_ns: int = 0


@dataclass(frozen=True, slots=True)
class Patience:
    """Until when an answer is of use, in nanoseconds of the clock that never goes back, and whether the caller has
    left."""

    deadline_ns: int | None = None
    gone: Callable[[], Awaitable[bool]] | None = None


_ENDLESS = Patience()


@dataclass(slots=True)
class _Item:
    served: Served
    inputs: Floats  # (n, C, H, W)
    authorized: bool
    scores: asyncio.Future[Floats]
    since_ns: int
    timing: Timing
    patience: Patience

    def is_wanted(self, now_ns: int) -> bool:
        """Surely; else it has to be looked into."""
        deadline_ns = self.patience.deadline_ns
        return now_ns - self.since_ns <= _LONG_NS and (deadline_ns is None or now_ns <= deadline_ns)

    async def lapsed(self, now_ns: int) -> Exception | None:
        """Why nobody wants the answer any more; None where somebody does."""
        deadline_ns, gone = self.patience.deadline_ns, self.patience.gone
        if deadline_ns is not None and now_ns > deadline_ns:
            return DeadlinePassed()
        if gone is None:
            return None
        try:
            return ClientDisconnect() if await gone() else None
        except Exception as error:  # his own trouble, and not that of the others in the batch
            return error


class Batcher:
    """`submit` from the event loop; one task feeds the torch thread."""

    def __init__(
        self, engine: Engine, metrics: Metrics, statistics: Statistics, max_batch: int, max_queued: int
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._statistics = statistics
        self._max_batch = max_batch
        self._max_queued = max_queued
        self._lanes: OrderedDict[Hashable, deque[_Item]] = OrderedDict()
        self._queued = 0
        self._wake = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to feed the network."""
        self.tasks = [asyncio.create_task(self._feed())]

    async def stop(self) -> None:
        """Stop feeding; whoever still waits is told to try elsewhere."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for lane in self._lanes.values():
            _fail(lane, Overloaded("the gateway is stopping"))

    async def submit(
        self,
        served: Served,
        inputs: Floats,
        *,
        authorized: bool,
        lane: Hashable,
        timing: Timing | None = None,
        patience: Patience | None = None,
    ) -> Floats:
        """Scores (n, K) for inputs (n, C, H, W); `timing` is told how long that took.

        Raises:
            Overloaded: the queue is full. DeadlinePassed, ClientDisconnect: before its turn came.
        """
        if len(inputs) > self._max_batch:  # piece by piece, so that other lanes get their turns in between
            pieces = [inputs[i : i + self._max_batch] for i in range(0, len(inputs), self._max_batch)]
            how: Any = {"authorized": authorized, "lane": lane, "timing": timing, "patience": patience}
            return np.concatenate([await self.submit(served, piece, **how) for piece in pieces])
        if self._queued >= self._max_queued:
            raise Overloaded
        scores = asyncio.get_running_loop().create_future()
        now, patience = time.perf_counter_ns(), patience or _ENDLESS
        item = _Item(served, inputs, authorized, scores, now, timing or Timing(), patience)
        self._lanes.setdefault(lane, deque()).append(item)
        self._queued += 1
        self._metrics.queued.set(self._queued)
        self._wake.set()
        return await item.scores

    async def _feed(self) -> None:
        while True:
            await self._wake.wait()
            items = self._take()
            if items:
                await self._forward(items)

    async def _wanted(self, items: list[_Item]) -> list[_Item]:
        now_ns = time.perf_counter_ns()
        return [item for item in items if item.is_wanted(now_ns) or not await self._lapsed(item, now_ns)]

    async def _lapsed(self, item: _Item, now_ns: int) -> bool:
        lapsed = await item.lapsed(now_ns)
        if lapsed is not None:
            _fail([item], lapsed)
        return lapsed is not None

    def _take(self) -> list[_Item]:
        """One item a lane in turn, of one network, up to `max_batch` rows."""
        items: list[_Item] = []
        rows = 0
        skipped = 0
        while self._lanes and skipped < len(self._lanes):
            lane, queue = self._lanes.popitem(last=False)
            item = queue[0]
            if items and (item.served is not items[0].served or rows + len(item.inputs) > self._max_batch):
                self._lanes[lane] = queue
                skipped += 1
                continue
            queue.popleft()
            self._queued -= 1
            if queue:
                self._lanes[lane] = queue
            if not item.scores.done():  # a caller that was cancelled costs no forward pass
                items.append(item)
                rows += len(item.inputs)
        if not self._lanes:
            self._wake.clear()
        self._metrics.queued.set(self._queued)
        return items

    async def _forward(self, taken: list[_Item]) -> None:
        try:
            items = await self._wanted(taken)
            if not items:
                return
            scores = await self._answer(items)
        except asyncio.CancelledError:
            _fail(taken, Overloaded("the gateway is stopping"))
            raise
        except Exception as error:  # one batch's failure is its callers', not the batcher's
            _fail(taken, error)
            return
        start = 0
        for item in items:
            end = start + len(item.inputs)
            if not item.scores.done():
                item.scores.set_result(scores[start:end])
            start = end

    async def _answer(self, items: list[_Item]) -> Floats:
        served = items[0].served
        inputs = np.concatenate([item.inputs for item in items])
        authorized = np.repeat([item.authorized for item in items], [len(item.inputs) for item in items])
        self._metrics.batch_rows.observe(len(inputs))
        began = time.perf_counter_ns()
        scores = await self._engine.run(lambda: served.answer(inputs, authorized))
        took = time.perf_counter_ns() - began
        for item in items:
            item.timing.queue_ns += began - item.since_ns
            item.timing.infer_ns += took
        self._statistics.of(served.version.id).executed(len(inputs))
        return scores


def _fail(items: Iterable[_Item], error: Exception) -> None:
    for item in items:
        if not item.scores.done():
            item.scores.set_exception(error)
