"""Does the time that an answer takes tell a decoy from the truth?

In each turn every kind of caller asks a block of 100 requests, the kinds in random order. Strangers have one place in
five while licensees are being served and for a second after, which is meant and said; so a gateway rests between two
blocks, and several take turns. What the machine does in a turn is common to all kinds, so the interval draws turns.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.asking import http, licensees_token, strangers_token
from benchmarks.gateway import Running, fresh_home
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import Floats, auc, auc_interval, either_way
from benchmarks.thread.budgets import Budget
from benchmarks.thread.trained import MODEL, chosen, mnist, named
from benchmarks.thread.wire import block, connect, prediction

REPEATS = 100
REST_S = 1.3
PAIRS = {"key": ("key", "nothing"), "token": ("token", "strangers_token")}
KINDS = tuple(kind for pair in PAIRS.values() for kind in pair)
CONCURRENCY = (1, 32)
SECONDS = "latency.npz"  # in the budget's folder under `runs/`, for the plot
LATENCY = tuple(
    f"latency_{pair}_{concurrency}_{what}" for pair in PAIRS for concurrency in CONCURRENCY for what in ("one", "mean")
)
_WORDS = {"key": "with a license key or with nothing", "token": "with a session's token, a stranger's or a licensee's"}


@dataclass(slots=True)
class _Place:
    """A gateway and when it was last asked."""

    port: int
    asked_at: float = 0.0

    async def block(self, request: bytes, concurrency: int) -> Floats:
        """One block on connections of its own, after the rest: uvicorn hangs up on idle ones."""
        await asyncio.sleep(max(0.0, self.asked_at + REST_S - time.monotonic()))
        connections = await connect(self.port, concurrency)
        try:
            return await block(connections, request, REPEATS)
        finally:
            for connection in connections:
                connection.close()
            self.asked_at = time.monotonic()


def latency(budget: Budget, steps: Steps) -> list[Row]:
    """All pairs at both concurrencies."""
    seconds = {}
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(fresh_home())
        shown = _prepare(home, budget)
        places = []
        for number in range(budget.latency_gateways):
            copied = shutil.copytree(home, home.with_name(f"home-{number}"))
            places.append(_Place(stack.enter_context(Running(copied, SIGNET_POLL_INTERVAL_S="1")).port))
        for concurrency in CONCURRENCY:
            rng = np.random.default_rng(concurrency)
            seconds[concurrency] = uvloop.run(_measure(budget, steps, places, shown, concurrency, rng))
    arrays = {f"{kind}_{c}": np.stack(blocks) for c, kinds in seconds.items() for kind, blocks in kinds.items()}
    np.savez_compressed(budget.data() / SECONDS, **arrays)  # type: ignore[arg-type]
    return [row for pair in PAIRS for c in CONCURRENCY for row in _rows(pair, c, seconds[c])]


def _prepare(home: Path, budget: Budget) -> dict[str, str | None]:
    """Fill a home to be copied; what each kind of caller shows, the same at every copy."""
    with Running(home) as gateway, http(gateway.url) as caller:
        gateway.add(named(chosen(budget)[1]))
        return {
            "key": gateway.issue(MODEL, "key").key,
            "nothing": None,
            "token": licensees_token(caller, MODEL, gateway.issue(MODEL, "fingerprint")),
            "strangers_token": strangers_token(caller, MODEL, (1, 28, 28), np.random.default_rng()),
        }


async def _measure(
    budget: Budget,
    steps: Steps,
    places: Sequence[_Place],
    shown: dict[str, str | None],
    concurrency: int,
    rng: np.random.Generator,
) -> dict[str, list[Floats]]:
    """Seconds by kind, one array a block."""
    images = mnist().test.images
    seconds: dict[str, list[Floats]] = {kind: [] for kind in KINDS}
    for place in places:  # warm up
        await place.block(prediction(MODEL, images[0]), concurrency)
    turns = budget.latency_turns[concurrency]
    order = [kind for _ in range(turns) for kind in rng.permutation(KINDS)]
    for number, kind in enumerate(steps.over(order, f"latency, concurrency {concurrency}")):
        request = prediction(MODEL, images[rng.integers(len(images))], shown[kind])
        seconds[kind].append(await places[number % len(places)].block(request, concurrency))
    return seconds


def _rows(pair: str, concurrency: int, seconds: dict[str, list[Floats]]) -> list[Row]:
    rng = np.random.default_rng(0)
    licensees, strangers = (seconds[kind] for kind in PAIRS[pair])
    what = f"told apart by latency, callers {_WORDS[pair]}, concurrency {concurrency}: AUC of "
    means = [[np.array([one.mean()]) for one in blocks] for blocks in (licensees, strangers)]
    medians = {kind: 1e6 * float(np.median(np.concatenate(seconds[kind]))) for kind in PAIRS[pair]}
    extra = {"median_us": medians, "turns": len(licensees)}
    return [
        _row(f"latency_{pair}_{concurrency}_one", what + "one answer", licensees, strangers, rng, extra),
        _row(f"latency_{pair}_{concurrency}_mean", what + f"means of {REPEATS} repeats", *means, rng, extra),
    ]


def _row(
    id: str,
    what: str,
    licensees: Sequence[Floats],
    strangers: Sequence[Floats],
    rng: np.random.Generator,
    extra: dict[str, object],
) -> Row:
    value = auc(np.concatenate(licensees), np.concatenate(strangers))
    low, high = auc_interval(licensees, strangers, rng)
    folded = either_way(value, low, high)
    asked = sum(map(len, licensees)) + sum(map(len, strangers))
    return Row(
        id,
        what + ", the higher of a and 1 - a",
        bar("<=", 0.55, "high"),
        *folded[:1],
        asked,
        *folded[1:],
        "bootstrap over turns, 95 %",
        extra | {"auc_strangers_slower": value},
    )
