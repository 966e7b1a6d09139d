"""Forgeries in numbers, past the gateway's own recognition; and the paper's check beside it."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from benchmarks.thread.budgets import Budget
from benchmarks.thread.field import OUTPUTS, Field, Grid, batches, field
from models.fingerprints.activeguard.generate import ENTROPY, generate

DRAWN = ("forged_drawn",)
REGENERATED = ("forged_regenerated",)
CHANGED = ("forged_changed",)
_BATCH = 2_000
_STARTS = 256  # images that the generator steers at once


def drawn(budget: Budget, steps: Steps) -> list[Row]:
    """Noise, faint noise and blends of sources, as many of each."""
    rng = np.random.default_rng(4)
    each = budget.drawn // 3
    with field(budget) as play:
        makers = _makers(play, rng)
        kinds = {name: list(batches_of(each, name, maker, steps, play)) for name, maker in makers.items()}
    what = "forged fingerprints drawn as noise, faint noise and blends of the generator's sources"
    return [row("forged_drawn", what, {name: _sum(counts) for name, counts in kinds.items()})]


def _makers(play: Field, rng: np.random.Generator) -> dict[str, Callable[[int], Grid]]:
    spec = play.eyes.served.input_spec
    sources = spec.to_grid(play.eyes.served.calibration.numpy())
    shape = spec.shape

    def noise(count: int) -> Grid:
        return rng.integers(256, size=(count, *shape), dtype=np.uint8)

    def faint(count: int) -> Grid:
        brightest = rng.integers(2, 65, size=(count, 1, 1, 1), dtype=np.uint8)
        return rng.integers(brightest, size=(count, *shape), dtype=np.uint8)

    def blends(count: int) -> Grid:
        first, second = (sources[rng.integers(len(sources), size=count)].astype(np.float32) for _ in range(2))
        weight = rng.random((count, 1, 1, 1), dtype=np.float32)
        return np.rint(weight * first + (1 - weight) * second).astype(np.uint8)

    return {"noise": noise, "faint_noise": faint, "blends": blends}


def regenerated(budget: Budget, steps: Steps) -> list[Row]:
    """The issuer's generator on its own sources, for the outputs of the 30 licenses, with the adversary's own bits."""
    with field(budget) as play:
        make = _regenerating(play, np.random.default_rng(5))
        counts = _sum(batches_of(budget.regenerated, "regenerated", make, steps, play, size=_STARTS))
    what = "forged fingerprints regenerated with the issuer's generator over its start images, other random bits"
    return [row("forged_regenerated", what, {"regenerated": counts})]


def _regenerating(play: Field, rng: np.random.Generator) -> Callable[[int], Grid]:
    served = play.eyes.served

    def make(count: int) -> Grid:
        sources = served.calibration[torch.from_numpy(rng.integers(len(served.calibration), size=count))]
        outputs = [served.fingerprints.allotment.output(int(user)) for user in rng.integers(OUTPUTS, size=count)]
        made = generate(served.predictor, sources, outputs, entropy=[rng.bytes(ENTROPY) for _ in range(count)])
        return np.asarray(made.grid, dtype=np.uint8)

    return make


def changed(budget: Budget, steps: Steps) -> list[Row]:
    """Every issued fingerprint, one grey level up or down at every pixel in turn."""
    with field(budget) as play:
        issued = play.grids()
        counts = [_looked_at(play, neighbours(one)) for one in steps.over(issued, "one grey level changed")]
    what = "issued fingerprints with one grey level changed, at every pixel in turn"
    return [row("forged_changed", what, {"one_level_changed": _sum(counts)})]


def forgers(play: Field, rng: np.random.Generator) -> dict[str, Callable[[int], Grid]]:
    """What makes so many forgeries of each kind."""
    every = neighbours(play.grids()[0])

    def change(count: int) -> Grid:
        return every[rng.integers(len(every), size=count)]

    return _makers(play, rng) | {"one_level_changed": change, "regenerated": _regenerating(play, rng)}


def neighbours(picture: Grid) -> Grid:
    """All pictures (N, C, H, W) that differ from (C, H, W) by one level at one pixel."""
    flat = picture.reshape(-1)
    made = []
    for pixel, level in enumerate(flat):
        for other in (int(level) - 1, int(level) + 1):
            if 0 <= other <= 255:
                copy = flat.copy()
                copy[pixel] = other
                made.append(copy)
    return np.stack(made).reshape(-1, *picture.shape)


def batches_of(
    count: int, name: str, make: Callable[[int], Grid], steps: Steps, play: Field, size: int = _BATCH
) -> Iterator[dict[str, int]]:
    """What becomes of `count` forgeries of one kind, batch by batch."""
    made = batches(count, size, make)
    for _ in steps.over(range(0, count, size), f"forged: {name}"):
        yield _looked_at(play, next(made))


def _looked_at(play: Field, grid: Grid) -> dict[str, int]:
    unbound = {f"unbound_{epsilon}": taken for epsilon, taken in play.eyes.unbound(grid).items()}
    return {"shown": len(grid), "accepted": play.eyes.accepted(grid), **unbound}


def _sum(counts: object) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:  # type: ignore[attr-defined]
        total = {name: total.get(name, 0) + number for name, number in one.items()}
    return total


def row(id: str, what: str, kinds: dict[str, dict[str, int]]) -> Row:
    """The share accepted over all kinds, and by kind how much the paper's unbound check takes."""
    shown = sum(kind["shown"] for kind in kinds.values())
    accepted = sum(kind["accepted"] for kind in kinds.values())
    by_kind = {
        name: {"shown": kind["shown"], "accepted": kind["accepted"]}
        | {key: count / kind["shown"] for key, count in kind.items() if key.startswith("unbound")}
        for name, kind in kinds.items()
    }
    interval = exact(accepted, shown)
    extra = {"by_kind": by_kind, "accepted_means": "proves the license under attack, or is answered with the truth"}
    return Row(id, what + ": share accepted", bar("==", 0.0), accepted / shown, shown, *interval, "exact, 95 %", extra)
