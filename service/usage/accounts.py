"""The statements of counting: plain functions of a connection, each within the caller's transaction.

No deadlock: every transaction locks accounts before reservations, and either in the order of the account's id.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import BindParameter, Connection, Insert, bindparam, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.usage.tables import Account, Reservation, Worker

# Made once: putting a statement together takes longer than SQLite needs to run it.
_account: BindParameter[str] = bindparam("account")
_worker: BindParameter[str] = bindparam("worker")
_n: BindParameter[int] = bindparam("n")
_LOCK = (
    select(Account.id).where(Account.id.in_(bindparam("accounts", expanding=True))).order_by(Account.id)
).with_for_update()
_ADD = update(Account).where(Account.id == _account).values(used=Account.used + _n)
_TAKE = _ADD.where(or_(Account.quota.is_(None), Account.used + _n <= Account.quota))
_FITS = select(Account.id).where(
    Account.id == _account, or_(Account.quota.is_(None), Account.used + _n <= Account.quota)
)
_SETTLE = (
    update(Reservation)
    .where(Reservation.worker_id == _worker, Reservation.account_id == _account, Reservation.units >= _n)
    .values(units=Reservation.units - _n)
)
_LIVING = select(Worker.id).where(Worker.lease_until >= bindparam("now"))
_END_LEASE = delete(Worker).where(Worker.id == _worker)
_END_OLD_LEASES = delete(Worker).where(Worker.lease_until < bindparam("now"))
_ABANDONED = select(Reservation.account_id).distinct().where(Reservation.worker_id.not_in(_LIVING))
_DROP_ABANDONED = (
    delete(Reservation)
    .where(Reservation.account_id == _account, Reservation.worker_id.not_in(_LIVING))
    .returning(Reservation.units)
)


def _upserts(insert: type[postgresql.Insert] | type[sqlite.Insert]) -> tuple[Insert, Insert]:
    hold, lease = insert(Reservation), insert(Worker)
    return (
        hold.values(worker_id=_worker, account_id=_account, units=_n).on_conflict_do_update(
            index_elements=["worker_id", "account_id"], set_={"units": Reservation.units + _n}
        ),
        lease.values(id=_worker, lease_until=bindparam("until")).on_conflict_do_update(
            index_elements=["id"], set_={"lease_until": bindparam("until")}
        ),
    )


_HOLD, _LEASE = (
    dict(zip(("postgresql", "sqlite"), statements, strict=True))
    for statements in zip(_upserts(postgresql.Insert), _upserts(sqlite.Insert), strict=True)
)


def lock(connection: Connection, accounts: Collection[str]) -> None:
    """Hold accounts until the transaction ends. On SQLite a transaction that writes holds everything from its start."""
    if connection.dialect.name != "sqlite":
        connection.execute(_LOCK, {"accounts": sorted(accounts)})


def reserve(connection: Connection, worker_id: str, account: str, units: int) -> bool:
    """Reserve all of `units`, or none and say False."""
    values = {"worker": worker_id, "account": account, "n": units}
    if connection.execute(_TAKE, {"account": account, "n": units}).rowcount != 1:
        return False
    connection.execute(_HOLD[connection.dialect.name], values)
    return True


def settle(connection: Connection, worker_id: str, account: str, units: int) -> bool:
    """Reserved units were answered. False: so many are not reserved any more."""
    return connection.execute(_SETTLE, {"worker": worker_id, "account": account, "n": units}).rowcount == 1


def release(connection: Connection, worker_id: str, account: str, units: int) -> bool:
    """Reserved units were not answered. False: so many are not reserved any more."""
    if not settle(connection, worker_id, account, units):
        return False
    connection.execute(_ADD, {"account": account, "n": -units})
    return True


def fits(connection: Connection, worker_id: str, account: str, units: int) -> bool:
    """Whether `units` could be reserved now; takes nothing."""
    return connection.execute(_FITS, {"account": account, "n": units}).one_or_none() is not None


def renew_lease(connection: Connection, worker_id: str, until: datetime) -> None:
    """The worker is alive until then."""
    connection.execute(_LEASE[connection.dialect.name], {"worker": worker_id, "until": until})


def end_lease(connection: Connection, worker_id: str) -> None:
    """The worker is gone."""
    connection.execute(_END_LEASE, {"worker": worker_id})


def release_dead(connection: Connection, now: datetime) -> dict[str, int]:
    """Give back the reservations of every worker without a live lease; units by account."""
    connection.execute(_END_OLD_LEASES, {"now": now})
    accounts = sorted(connection.scalars(_ABANDONED, {"now": now}))
    if accounts:
        lock(connection, accounts)
    units = dict[str, int]()
    for account in accounts:
        units[account] = sum(connection.scalars(_DROP_ABANDONED, {"account": account, "now": now}))
        connection.execute(_ADD, {"account": account, "n": -units[account]})
    return units
