"""Ten times as many strangers as licensees, and what the licensees notice of it.

Everybody asks again as soon as he is answered. Strangers come from another address, and the limit by address is out of
the way, so that the fair queue alone stands before the licensees. A second flood comes from many networks, for the rows
that it leaves in the database.
"""

import asyncio
from pathlib import Path

import numpy as np
import uvloop
from sqlalchemy import func, inspect, select, table

from benchmarks.gateway import Running, fresh_home
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import RESAMPLES, Floats
from benchmarks.thread.budgets import Budget
from benchmarks.thread.trained import MODEL, chosen, mnist, named
from benchmarks.thread.wire import connect, prediction, until
from service.database import create_engine
from service.settings import Settings
from service.usage.refusals import ROWS_A_MINUTE
from service.usage.tables import RefusalCount

FLOOD = ("flood_p99", "flood_growth")
LICENSEES, STRANGERS = 4, 40
NETWORKS = 500
_FLUSH_S = 1.0


def flood(budget: Budget, steps: Steps) -> list[Row]:
    """Licensees' p99 with strangers and without, and the database before and after."""
    best = chosen(budget)[1]
    settings = {"SIGNET_REFUSAL_FLUSH_S": str(_FLUSH_S)}
    with fresh_home() as home, Running(home, **settings) as gateway:
        gateway.add(named(best))
        keys = [gateway.issue(MODEL, "key").key for _ in range(LICENSEES)]
        p99 = uvloop.run(_pairs(budget, steps, gateway.port, keys))
        growth = uvloop.run(_growth(home, gateway.port))
    return [p99, growth]


async def _pairs(budget: Budget, steps: Steps, port: int, keys: list[str]) -> Row:
    rng = np.random.default_rng(0)
    image = mnist().test.images[0]
    asking = [prediction(MODEL, image, key) for key in keys]
    await _run(port, asking, prediction(MODEL, image), STRANGERS, 2.0)  # warm up
    calm, flooded, served = [], [], 0
    for _ in steps.over(range(budget.flood_pairs), "flood, pairs of runs"):
        for strangers in rng.permutation([0, STRANGERS]):
            seconds, answered = await _run(port, asking, prediction(MODEL, image), strangers, budget.flood_seconds)
            (flooded if strangers else calm).append(seconds)
            served += answered
    value, low, high = _ratio(calm, flooded, rng)
    answered = sum(map(len, flooded))
    return Row(
        "flood_p99",
        f"{STRANGERS} strangers beside {LICENSEES} licensees: the licensees' p99 against that without strangers",
        bar("<=", 1.5, "high"),
        value,
        answered + sum(map(len, calm)),
        low,
        high,
        "bootstrap over pairs of runs, 95 %",
        {
            "p99_ms": {"calm": 1e3 * _p99(calm), "flooded": 1e3 * _p99(flooded)},
            "p50_ms": {"calm": 1e3 * _quantile(calm, 50), "flooded": 1e3 * _quantile(flooded, 50)},
            "p99_ratio_by_pair": [_p99([b]) / _p99([a]) for a, b in zip(calm, flooded, strict=True)],
            "strangers_share_of_answers": served / (served + answered),
        },
    )


async def _run(port: int, asking: list[bytes], stranger: bytes, strangers: int, seconds: float) -> tuple[Floats, int]:
    """Seconds of the licensees' requests, and how many strangers were answered."""
    licensees = await connect(port, len(asking))
    others = await connect(port, strangers, "127.0.0.2")
    end = asyncio.get_running_loop().time() + seconds
    took, served = await asyncio.gather(
        until(licensees, asking, end), until(others, [stranger] * strangers, end)
    )  # fmt: skip
    for connection in (*licensees, *others):
        connection.close()
    return took[len(took) // 20 :], len(served)  # the first twentieth is the run-up


def _ratio(calm: list[Floats], flooded: list[Floats], rng: np.random.Generator) -> tuple[float, float, float]:
    drawn = []
    for _ in range(RESAMPLES):
        rows = rng.integers(len(calm), size=len(calm))
        drawn.append(_p99([flooded[row] for row in rows]) / _p99([calm[row] for row in rows]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return _p99(flooded) / _p99(calm), float(low), float(high)


def _p99(runs: list[Floats]) -> float:
    return _quantile(runs, 99)


def _quantile(runs: list[Floats], percent: float) -> float:
    return float(np.percentile(np.concatenate(runs), percent))


async def _growth(home: Path, port: int) -> Row:
    """A stranger from each of many networks; rows of all tables before and after."""
    request = prediction(MODEL, mnist().test.images[0])
    before = await _rows(home)
    for number in range(NETWORKS):
        (connection,) = await connect(port, 1, f"127.{1 + number // 250}.{number % 250}.1")
        await connection.ask(request)
        connection.close()
    await asyncio.sleep(2 * _FLUSH_S + 0.5)
    after = await _rows(home)
    minutes = after["minutes"] - before["minutes"] or 1
    grown = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    value = sum(rows for name, rows in grown.items() if name != "minutes") / minutes
    what = f"rows that strangers from {NETWORKS} networks leave in the whole database, a minute"
    how = "a count; nothing random in it"
    wanted = bar("<=", ROWS_A_MINUTE)
    return Row("flood_growth", what, wanted, value, NETWORKS, value, value, how, {"rows_by_table": grown})


async def _rows(home: Path) -> dict[str, int]:
    """How many rows each table has; and in how many minutes refusals were counted."""
    engine = create_engine(Settings(home=home).resolved_database_url())
    try:
        async with engine.connect() as connection:
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
            counts = {
                name: int(await connection.scalar(select(func.count()).select_from(table(name))) or 0) for name in names
            }
            minutes = await connection.scalar(select(func.count(func.distinct(RefusalCount.minute))))
    finally:
        await engine.dispose()
    return counts | {"minutes": int(minutes or 0)}
