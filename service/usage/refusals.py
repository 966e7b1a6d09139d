"""Counting refusals per model, code, minute and network prefix: at most 100 rows a minute and process, none lost.

The first 80 kinds of refusal in a minute have a row each. Later ones are counted without their network, in a row a
model and code, of which 19 fit; and whatever is new after that in the one row left, which says when and how many.
Several gateways on one database add to the same rows where they see the same, and have a hundred each where they do
not; so has one that is started anew within the minute.
"""

import asyncio
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_network

import structlog
from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from service.clock import Clock
from service.usage.tables import RefusalCount

log = structlog.get_logger(__name__)
ROWS_A_MINUTE = 100
SAMPLED = 80  # of them, with the network
KEPT = timedelta(days=30)
FORGET_EVERY = timedelta(hours=1)  # also when nobody is refused any more
ANY = "*"  # no model, code or network is called so
_Key = tuple[str, str, str]  # model, code, network


@lru_cache(maxsize=4096)  # making one takes as long as the rest of a refusal, and shows in a stranger's latency
def network_of(address: str) -> str:
    """The prefix an address is kept as: /24 of IPv4, /48 of IPv6."""
    try:
        return str(ip_network(f"{address}/{48 if ':' in address else 24}", strict=False))
    except ValueError:
        return ANY  # a Unix socket has no address


def _row_for(rows: set[_Key], wanted: _Key) -> _Key:
    """The finest key there is, or is room for, among a minute's `rows`."""
    model, code, _ = wanted
    for key, most in ((wanted, SAMPLED), ((model, code, ANY), ROWS_A_MINUTE - 1)):
        if key in rows or len(rows) < most:
            return key
    return (ANY, ANY, ANY)


class Refusals:
    """Counts in memory; writes down every few seconds."""

    def __init__(self, engine: AsyncEngine, clock: Clock, flush_s: float) -> None:
        self._engine = engine
        self._clock = clock
        self._flush_s = flush_s
        self._forgot_at = datetime.min.replace(tzinfo=UTC)
        self._counts: Counter[tuple[datetime, str, str, str]] = Counter()
        self._keys: defaultdict[datetime, set[_Key]] = defaultdict(set)
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def count(self, model: str, code: str, address: str) -> None:
        """One refusal."""
        minute = self._clock().replace(second=0, microsecond=0)
        keys = self._keys[minute]
        key = _row_for(keys, (model, code, network_of(address)))
        keys.add(key)
        self._counts[(minute, *key)] += 1

    async def flush(self) -> None:
        """Add what was counted to the table, and forget what is older than 30 days."""
        counts, self._counts = self._counts, Counter()
        now = self._clock()
        self._keys = defaultdict(set, {m: k for m, k in self._keys.items() if m > now - timedelta(minutes=2)})
        forgetful = abs(now - self._forgot_at) >= FORGET_EVERY
        if not counts and not forgetful:
            return
        try:
            async with self._engine.begin() as connection:
                for (minute, model, code, network), count in sorted(counts.items()):
                    row = self._insert(RefusalCount).values(
                        minute=minute, model=model, code=code, network=network, count=count
                    )
                    await connection.execute(
                        row.on_conflict_do_update(
                            index_elements=["minute", "model", "code", "network"],
                            set_={"count": RefusalCount.count + count},
                        )
                    )
                if forgetful:
                    await connection.execute(delete(RefusalCount).where(RefusalCount.minute < now - KEPT))
        except BaseException as error:
            self._counts.update(counts)  # the next flush tries again, and so does the one at the end
            if not isinstance(error, Exception):
                raise  # stopped
            log.warning("usage.refusals.flush_failed", error=type(error).__name__)
        else:
            self._forgot_at = now if forgetful else self._forgot_at

    async def keep_flushing(self) -> None:
        """Flush every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(self._flush_s)
            await self.flush()
