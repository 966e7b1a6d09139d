"""Counting by reserve and settle.

Units are reserved before the forward pass, in one conditional statement, and settled before the answer leaves. Calls
that are waiting are grouped into one transaction. What is reserved stands under the worker that reserved it: when a
worker is killed its lease runs out and its unanswered units are given back, so no answered image is missing and no
quota is overrun.

A stranger's request goes through the same statements on its model's account, so that counting takes the same time.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog
from sqlalchemy import Connection

from service.clock import Clock
from service.database import Transactions
from service.errors import Overloaded
from service.ids import new_id
from service.metrics import Metrics
from service.usage import accounts

log = structlog.get_logger(__name__)
Act = Literal["reserve", "settle", "release", "fits"]
_STEPS: Mapping[str, Callable[[Connection, str, str, int], bool]] = {
    "reserve": accounts.reserve,
    "settle": accounts.settle,
    "release": accounts.release,
    "fits": accounts.fits,
}


@dataclass(slots=True)
class _Entry:
    act: Act
    account: str
    units: int
    done: asyncio.Future[bool]


class Ledger:
    """One worker's view of the accounts. `start` it before use, `stop` it to hand the lease back."""

    def __init__(self, transactions: Transactions, clock: Clock, lease_s: float, metrics: Metrics) -> None:
        self.worker_id = new_id("wrk")
        self._transactions = transactions
        self._clock = clock
        self._lease_s = lease_s
        self._metrics = metrics
        self._pending: list[_Entry] = []
        self._owed: list[tuple[str, int]] = []  # units of answers that did not leave because counting failed
        self._wake = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take a lease, release what dead workers left, and begin to count."""
        await self._renew_lease()
        await self.release_dead()
        self.tasks = [asyncio.create_task(self._count()), asyncio.create_task(self._keep_lease())]

    async def stop(self) -> None:
        """Count what waits, then give the lease back."""
        if self._pending:
            await asyncio.gather(*(entry.done for entry in self._pending), return_exceptions=True)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self._transactions.run(lambda connection: accounts.end_lease(connection, self.worker_id))
        await self.release_dead()

    async def reserve(self, account: str, units: int) -> bool:
        """Reserve all of `units`, or none and say False."""
        return await self._enter("reserve", account, units)

    async def settle(self, account: str, units: int) -> bool:
        """The units were answered. False: the lease had run out and they were given back, so do not answer."""
        return await self._enter("settle", account, units)

    async def release(self, account: str, units: int) -> None:
        """The units were not answered."""
        await self._enter("release", account, units)

    async def fits(self, account: str, units: int) -> bool:
        """Whether `units` could be reserved now; takes nothing."""
        return await self._enter("fits", account, units)

    async def release_dead(self) -> int:
        """Give back the reservations of every worker without a live lease; how many units that were."""
        units = await self._transactions.run(lambda connection: accounts.release_dead(connection, self._clock()))
        released = sum(units.values())
        if released:
            self._metrics.released.inc(released)
            log.warning("usage.reservations.released", units=released, accounts=len(units))
        return released

    async def _enter(self, act: Act, account: str, units: int) -> bool:
        entry = _Entry(act, account, units, asyncio.get_running_loop().create_future())
        self._pending.append(entry)
        self._wake.set()
        try:
            return await asyncio.shield(entry.done)
        except asyncio.CancelledError:
            if act == "reserve":  # the caller is gone; what is reserved in its name goes back
                entry.done.add_done_callback(lambda done: self._undo(account, units, done))
            raise

    def _undo(self, account: str, units: int, reserved: asyncio.Future[bool]) -> None:
        if not reserved.cancelled() and reserved.exception() is None and reserved.result():
            self._release_later(account, units)

    def _release_later(self, account: str, units: int) -> None:
        self._pending.append(_Entry("release", account, units, asyncio.get_running_loop().create_future()))
        self._wake.set()

    async def _count(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            entries, self._pending = self._pending, []
            try:
                outcomes = await self._post(entries)
            except Exception as error:  # whatever it is, those who come later must be counted
                log.error("usage.count.failed", error=type(error).__name__, entries=len(entries))
                for entry in entries:
                    entry.done.set_exception(Overloaded("usage could not be counted; try again"))
                    entry.done.exception()  # a caller that went away leaves nobody to look
                self._owed += [(entry.account, entry.units) for entry in entries if entry.act in ("settle", "release")]
                continue
            for entry, outcome in zip(entries, outcomes, strict=True):
                entry.done.set_result(outcome)

    async def _post(self, entries: Sequence[_Entry]) -> list[bool]:
        return await self._transactions.run(lambda connection: _post(connection, self.worker_id, entries))

    async def _renew_lease(self) -> None:
        until = self._clock() + timedelta(seconds=self._lease_s)
        await self._transactions.run(lambda connection: accounts.renew_lease(connection, self.worker_id, until))

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self._renew_lease()
                owed, self._owed = self._owed, []
                for account, units in owed:
                    self._release_later(account, units)
                await self.release_dead()
            except Exception as error:  # a lease that nobody renews would let units be given away twice
                log.warning("usage.lease.failed", error=type(error).__name__)


def _post(connection: Connection, worker_id: str, entries: Sequence[_Entry]) -> list[bool]:
    """One transaction for all, what frees units before what takes them."""
    outcomes: dict[int, bool] = {}
    by_account = defaultdict[str, list[_Entry]](list)
    for entry in entries:
        by_account[entry.account].append(entry)
    changed = {entry.account for entry in entries if entry.act in ("release", "reserve")}
    if changed:
        accounts.lock(connection, changed)
    for account in sorted(by_account):
        for act in ("settle", "release", "reserve", "fits"):
            same = [entry for entry in by_account[account] if entry.act == act]
            if same:
                outcomes.update(_post_same(connection, worker_id, act, account, same))
    return [outcomes[id(entry)] for entry in entries]


def _post_same(
    connection: Connection, worker_id: str, act: str, account: str, entries: Sequence[_Entry]
) -> dict[int, bool]:
    step = _STEPS[act]
    if act != "fits" and step(connection, worker_id, account, sum(entry.units for entry in entries)):
        return {id(entry): True for entry in entries}
    return {id(entry): step(connection, worker_id, account, entry.units) for entry in entries}
