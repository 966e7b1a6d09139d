"""The statements of counting: plain functions of a connection, each within the caller's transaction.

No deadlock: every transaction locks accounts before reservations, and either in the order of the account's id.
"""

from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import Connection, Select, Update, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.database import Base
from service.usage.tables import Account, Reservation, Worker


def lock(connection: Connection, accounts: Collection[str]) -> None:
    """Hold accounts until the transaction ends."""
    connection.execute(_locked(accounts))


def reserve(connection: Connection, worker_id: str, account: str, units: int) -> bool:
    """Reserve all of `units`, or none and say False."""
    fits_in = or_(Account.quota.is_(None), Account.used + units <= Account.quota)
    taken = connection.execute(_add(account, units).where(fits_in).returning(Account.used))
    if taken.one_or_none() is None:
        return False
    own = _insert(connection)(Reservation).values(worker_id=worker_id, account_id=account, units=units)
    connection.execute(
        own.on_conflict_do_update(index_elements=["worker_id", "account_id"], set_={"units": Reservation.units + units})
    )
    return True


def settle(connection: Connection, worker_id: str, account: str, units: int) -> bool:
    """Reserved units were answered. False: so many are not reserved any more."""
    settled = connection.execute(
        update(Reservation)
        .where(Reservation.worker_id == worker_id, Reservation.account_id == account)
        .where(Reservation.units >= units)
        .values(units=Reservation.units - units)
    )
    return settled.rowcount == 1


def release(connection: Connection, worker_id: str, account: str, units: int) -> bool:
    """Reserved units were not answered. False: so many are not reserved any more."""
    if not settle(connection, worker_id, account, units):
        return False
    connection.execute(_add(account, -units))
    return True


def fits(connection: Connection, worker_id: str, account: str, units: int) -> bool:
    """Whether `units` could be reserved now; takes nothing."""
    row = connection.execute(select(Account.quota, Account.used).where(Account.id == account)).one_or_none()
    return row is not None and (row.quota is None or row.used + units <= row.quota)


def renew_lease(connection: Connection, worker_id: str, until: datetime) -> None:
    """The worker is alive until then."""
    own = _insert(connection)(Worker).values(id=worker_id, lease_until=until)
    connection.execute(own.on_conflict_do_update(index_elements=["id"], set_={"lease_until": until}))


def end_lease(connection: Connection, worker_id: str) -> None:
    """The worker is gone."""
    connection.execute(delete(Worker).where(Worker.id == worker_id))


def release_dead(connection: Connection, now: datetime) -> dict[str, int]:
    """Give back the reservations of every worker without a live lease; units by account."""
    living = select(Worker.id).where(Worker.lease_until >= now)
    connection.execute(delete(Worker).where(Worker.lease_until < now))
    abandoned = select(Reservation.account_id).where(Reservation.worker_id.not_in(living))
    accounts = sorted(set(connection.scalars(abandoned)))
    if accounts:
        lock(connection, accounts)
    units = dict[str, int]()
    for account in accounts:
        dead = delete(Reservation).where(Reservation.account_id == account, Reservation.worker_id.not_in(living))
        units[account] = sum(connection.scalars(dead.returning(Reservation.units)))
        connection.execute(_add(account, -units[account]))
    return units


def _insert(connection: Connection) -> Callable[[type[Base]], postgresql.Insert | sqlite.Insert]:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _locked(accounts: Collection[str]) -> Select[str]:
    return select(Account.id).where(Account.id.in_(accounts)).order_by(Account.id).with_for_update()


def _add(account: str, units: int) -> Update:
    return update(Account).where(Account.id == account).values(used=Account.used + units)
