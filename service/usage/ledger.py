"""Counting by reserve and settle.

Units are reserved before the forward pass, in one conditional statement, and settled before the answer leaves. Calls
that are waiting are grouped into one transaction. What is reserved stands under the worker that reserved it: when a
worker is killed its lease runs out and its unanswered units are given back, so no answered image is missing and no
quota is overrun.

A stranger's request goes through the same statements on its model's account, so that counting takes the same time.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import structlog
from sqlalchemy import Select, Update, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.clock import Clock
from service.errors import Overloaded
from service.ids import new_id
from service.metrics import Metrics
from service.usage.tables import Account, Reservation, Worker

log = structlog.get_logger(__name__)
Act = Literal["reserve", "settle", "release", "fits"]


@dataclass(slots=True)
class _Entry:
    act: Act
    account: str
    units: int
    done: asyncio.Future[bool]


class Ledger:
    """One worker's view of the accounts. `start` it before use, `stop` it to hand the lease back."""

    def __init__(self, engine: AsyncEngine, clock: Clock, lease_s: float, metrics: Metrics) -> None:
        self.worker_id = new_id("wrk")
        self._engine = engine
        self._clock = clock
        self._lease_s = lease_s
        self._metrics = metrics
        self._pending: list[_Entry] = []
        self._owed: list[tuple[str, int]] = []  # units of answers that did not leave because counting failed
        self._wake = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

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
        async with self._engine.begin() as connection:
            await connection.execute(delete(Worker).where(Worker.id == self.worker_id))
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
        living = select(Worker.id).where(Worker.lease_until >= self._clock())
        async with self._engine.begin() as connection:
            await connection.execute(delete(Worker).where(Worker.lease_until < self._clock()))
            abandoned = select(Reservation.account_id).where(Reservation.worker_id.not_in(living))
            accounts = sorted(set(await connection.scalars(abandoned)))
            if accounts:
                await connection.execute(_locked(accounts))
            units = dict[str, int]()
            for account in accounts:
                dead = delete(Reservation).where(
                    Reservation.account_id == account, Reservation.worker_id.not_in(living)
                )
                units[account] = sum(await connection.scalars(dead.returning(Reservation.units)))
                await connection.execute(_add(account, -units[account]))
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
        """One transaction for all, what frees units before what takes them.

        No deadlock: every transaction locks accounts before reservations, and either in the order of the account's id.
        """
        outcomes: dict[int, bool] = {}
        accounts = defaultdict[str, list[_Entry]](list)
        for entry in entries:
            accounts[entry.account].append(entry)
        async with self._engine.begin() as connection:
            changed = {entry.account for entry in entries if entry.act in ("release", "reserve")}
            if changed:
                await connection.execute(_locked(changed))
            for account in sorted(accounts):
                for act in ("settle", "release", "reserve", "fits"):
                    same = [entry for entry in accounts[account] if entry.act == act]
                    if same:
                        outcomes.update(await self._post_same(connection, act, account, same))
        return [outcomes[id(entry)] for entry in entries]

    async def _post_same(
        self, connection: AsyncConnection, act: str, account: str, entries: Sequence[_Entry]
    ) -> dict[int, bool]:
        step = {"settle": self._settle, "release": self._release, "reserve": self._reserve, "fits": self._fits}[act]
        if act != "fits" and await step(connection, account, sum(entry.units for entry in entries)):
            return {id(entry): True for entry in entries}
        return {id(entry): await step(connection, account, entry.units) for entry in entries}

    async def _reserve(self, connection: AsyncConnection, account: str, units: int) -> bool:
        fits = or_(Account.quota.is_(None), Account.used + units <= Account.quota)
        taken = await connection.execute(_add(account, units).where(fits).returning(Account.used))
        if taken.one_or_none() is None:
            return False
        own = self._insert(Reservation).values(worker_id=self.worker_id, account_id=account, units=units)
        await connection.execute(
            own.on_conflict_do_update(
                index_elements=["worker_id", "account_id"], set_={"units": Reservation.units + units}
            )
        )
        return True

    async def _settle(self, connection: AsyncConnection, account: str, units: int) -> bool:
        settled = await connection.execute(
            update(Reservation)
            .where(Reservation.worker_id == self.worker_id, Reservation.account_id == account)
            .where(Reservation.units >= units)
            .values(units=Reservation.units - units)
        )
        return settled.rowcount == 1

    async def _release(self, connection: AsyncConnection, account: str, units: int) -> bool:
        if not await self._settle(connection, account, units):
            return False
        await connection.execute(_add(account, -units))
        return True

    async def _fits(self, connection: AsyncConnection, account: str, units: int) -> bool:
        row = (await connection.execute(select(Account.quota, Account.used).where(Account.id == account))).one_or_none()
        return row is not None and (row.quota is None or row.used + units <= row.quota)

    async def _renew_lease(self) -> None:
        until = self._clock() + timedelta(seconds=self._lease_s)
        own = self._insert(Worker).values(id=self.worker_id, lease_until=until)
        async with self._engine.begin() as connection:
            await connection.execute(own.on_conflict_do_update(index_elements=["id"], set_={"lease_until": until}))

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


def _locked(accounts: Collection[str]) -> Select[str]:
    return select(Account.id).where(Account.id.in_(accounts)).order_by(Account.id).with_for_update()


def _add(account: str, units: int) -> Update:
    return update(Account).where(Account.id == account).values(used=Account.used + units)
