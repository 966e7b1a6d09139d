"""50 callers at once on a quota of 1,000, until the gateway refuses everybody."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence

import asyncpg
import orjson
import uvloop

from benchmarks.gateway import Running, checked, fresh_home
from benchmarks.progress import Steps, console
from benchmarks.rows import Row, bar
from benchmarks.thread.budgets import Budget
from benchmarks.thread.trained import MODEL, chosen, mnist, named
from benchmarks.thread.wire import Refused, connect, prediction

QUOTA = ("quota_sqlite", "quota_postgresql")
CALLERS, UNITS = 50, 1_000
SIZES = (1, 2, 3, 5, 8)
_SERVER = "SIGNET_TEST_DATABASE_URL"


def quota(budget: Budget, steps: Steps) -> list[Row]:
    """One gateway on SQLite; two that share one PostgreSQL database."""
    rows = []
    with fresh_home() as home, Running(home) as gateway:
        rows.append(_row("quota_sqlite", "SQLite", budget, steps, [gateway]))
    try:
        with (
            _database() as url,
            fresh_home() as home,
            Running(home, SIGNET_DATABASE_URL=url) as first,
            Running(home, SIGNET_DATABASE_URL=url) as second,
        ):
            rows.append(_row("quota_postgresql", "PostgreSQL and two gateways", budget, steps, [first, second]))
    except (OSError, asyncpg.PostgresError) as error:
        console.print(f"  no PostgreSQL at {_SERVER} ({type(error).__name__}): its row is left out", highlight=False)
    return rows


def _row(id: str, on: str, budget: Budget, steps: Steps, gateways: Sequence[Running]) -> Row:
    """Every second run with requests of mixed sizes, of which the last ones must still be used up."""
    gateways[0].add(named(chosen(budget)[1]))
    answered, booked = [], []
    for turn in steps.over(range(2 * budget.quota_runs), f"quota on {on}"):
        license = gateways[0].issue(MODEL, "key", quota=UNITS)
        sizes = SIZES if turn % 2 else (1,)
        answered.append(uvloop.run(_use_up([gateway.port for gateway in gateways], license.key, sizes)))
        with gateways[0].admin() as admin:
            booked.append(checked(admin.get(f"/v1/licenses/{license.id}")).json()["used"])
    worst = max(answered, key=lambda images: abs(images - UNITS))
    counts = answered + booked
    return Row(
        id,
        f"images answered to {CALLERS} callers at once on a quota of {UNITS:,}, {on}: the run furthest off",
        bar("within", [UNITS, UNITS], "interval"),
        worst,
        len(answered),
        min(counts),
        max(counts),
        "least and most of a run, answered or booked",
        {"answered": answered, "booked": booked, "request_sizes": [[1], list(SIZES)]},
    )


async def _use_up(ports: Sequence[int], key: str, sizes: Sequence[int]) -> int:
    """Images answered when all callers have been refused even one image."""
    images = mnist().test.images
    requests = {size: prediction(MODEL, images[:size], key) for size in sizes}
    connections = [one for port in ports for one in await connect(port, CALLERS // len(ports))]
    answered = 0

    async def keep_asking(caller: int) -> None:
        nonlocal answered
        size = sizes[caller % len(sizes)]
        while True:
            try:
                _, _, body = await connections[caller].ask(requests[size])
            except Refused as refused:
                if refused.status != 429:
                    raise
                if size == 1:
                    return
                size = sizes[sizes.index(size) - 1]  # what does not fit whole is refused whole
                continue
            answered += len(orjson.loads(body)["predictions"])

    await asyncio.gather(*(keep_asking(caller) for caller in range(len(connections))))
    for connection in connections:
        connection.close()
    return answered


@contextlib.contextmanager
def _database() -> Iterator[str]:
    """An empty PostgreSQL database, dropped afterwards."""
    url = os.environ.get(_SERVER, "postgresql://postgres@127.0.0.1:5432/test")
    name = f"signet_quota_{secrets.token_hex(4)}"
    uvloop.run(_sql(url, f"CREATE DATABASE {name}"))
    try:
        yield f"{url.rpartition('/')[0]}/{name}"
    finally:
        uvloop.run(_sql(url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
