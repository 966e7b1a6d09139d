"""Accepted fingerprints per core-second: Gauss-Newton, the paper's C&W and Adam, each at the budget that suits it best.

Budgets are chosen on one seed's network and measured on the others', in one process and in turn. Start images, bits,
rounding, finish and tolerance are the same for all; what is counted are 8-bit images that the paper's control layer
takes for their user. C&W stands at its highest yield: the budget at which it accepts most, the fastest of equals.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product

import numpy as np

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.kept import Piece, Shelf
from benchmarks.activeguard.fingerprints.networks import Network, entropy, images, lenet5, seeds
from benchmarks.activeguard.fingerprints.table1 import ALLOTMENT, taken
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import Floats
from models.fingerprints.activeguard import (
    Adam,
    CarliniWagner,
    GaussNewton,
    GenerationSettings,
    Method,
    generate,
)

GENERATORS = ("generators_cw", "generators_adam")
YIELDS = "generators.json"  # behind the plot
RESAMPLES = 10_000


@dataclass(frozen=True)
class Trial:
    """A generator with a budget: what a start may cost, how many starts, how many images at once."""

    generator: str
    method: Method
    settings: GenerationSettings

    @property
    def label(self) -> str:
        """As it stands in the table."""
        options = ", ".join(f"{key} {value:g}" for key, value in asdict(self.method).items() if key in _SHOWN)  # type: ignore[call-overload]
        return f"{options}, {self.settings.attempts} start(s), batches of {self.settings.batch_size}"


_SHOWN = ("steps", "step_size", "alpha", "radius")


def _trial(generator: str, method: Method, attempts: int, batch_size: int) -> Trial:
    return Trial(generator, method, GenerationSettings(attempts=attempts, batch_size=batch_size))


GAUSS_NEWTON = [
    _trial("Gauss-Newton", GaussNewton(steps=steps, radius=radius), 8, size)
    for steps, radius, size in product((8, 15, 40), (3.0, 6.0), (64, 128))
]
CARLINI_WAGNER = [
    _trial("C&W", CarliniWagner(steps=steps, step_size=rate, alpha=alpha), attempts, 64)
    for steps, rate, alpha, attempts in product((300, 1000), (0.03, 0.1, 0.3), (100.0, 1000.0), (1, 8))
]
ADAM = [
    _trial("Adam", Adam(steps=steps, step_size=rate), 8, size)
    for steps, rate, size in product((50, 100, 200), (0.05, 0.1, 0.2), (64, 128))
]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Trials of each generator, attempts at each of the 30 outputs in them, and the same in each of the rounds."""

    trials: int
    attempts: tuple[int, int, int]  # Gauss-Newton, C&W, Adam
    rounds: int
    round_attempts: int


SIZES = {
    "smoke": Sizes(1, (1, 1, 1), 2, 1),
    "cpu": Sizes(100, (8, 2, 4), 8, 8),
    "gpu": Sizes(100, (30, 10, 15), 30, 16),
}


def generators(budget: Budget, steps: Steps) -> list[Row]:
    """Choose, then measure in turn."""
    sizes, shelf = SIZES[budget.name], Shelf.of(budget)
    tried = _choose(budget, sizes, shelf, steps)
    (budget.data() / YIELDS).write_text(json.dumps(tried))
    contest = {
        "Gauss-Newton": max(tried["Gauss-Newton"], key=_by_yield),
        "C&W": max(tried["C&W"], key=_by_yield),
        "C&W, fastest": max(tried["C&W"], key=_rate),
        "Adam": max(tried["Adam"], key=_rate),
    }
    chosen = {name: piece["trial"] for name, piece in contest.items()}
    rounds = [
        shelf.get(f"generators-{index}", (index, sizes, chosen), partial(_round, budget, sizes, chosen, index))
        for index in steps.over(range(sizes.rounds), "generators in turn")
    ]
    extra = {
        "rates": {name: _rate(_sum(rounds, name)) for name in contest},
        "yields": {name: _yield(_sum(rounds, name)) for name in contest},
        "budgets": {name: piece["label"] for name, piece in contest.items()},
        "chosen_on": f"network {seeds(budget)[0]}",
        "seeds": [_seed(budget, index) for index in range(sizes.rounds)],
        "resumed_core_minutes": shelf.minutes / 2,
    }
    beside = {"over_fastest_cw": _ratio(rounds, "C&W, fastest"), "tables": [_table(tried, contest)]}
    return [
        _row(GENERATORS[0], "C&W at its highest yield", 20.0, rounds, "C&W", extra | beside),
        _row(GENERATORS[1], "Adam", 5.0, rounds, "Adam", extra),
    ]


def _table(tried: dict[str, list[Piece]], contest: dict[str, Piece]) -> dict[str, object]:
    """Every budget, the fastest first, and what it was chosen as."""
    lines = []
    for name, pieces in tried.items():
        for piece in sorted(pieces, key=_rate, reverse=True):
            chosen = ", ".join(key for key, one in contest.items() if one is piece)
            figures = f"{100 * _yield(piece):.1f}", f"{_rate(piece):.1f}", f"{piece['distance']:.1f}"
            lines.append([name, piece["label"], *figures, chosen])
    return {
        "title": "Generators on c in {0.2, 0.3, 0.4}: accepted at 8 bits, speed, median distance to the start image",
        "columns": ["generator", "budget", "accepted, %", "per core-second", "distance", "chosen as"],
        "rows": lines,
    }


def _choose(budget: Budget, sizes: Sizes, shelf: Shelf, steps: Steps) -> dict[str, list[Piece]]:
    """Every trial on the first seed's network."""
    seed = seeds(budget)[0]
    found: dict[str, list[Piece]] = {}
    for trials, attempts in zip((GAUSS_NEWTON, CARLINI_WAGNER, ADAM), sizes.attempts, strict=True):
        for trial in steps.over(trials[: sizes.trials], f"{trials[0].generator}'s budgets"):
            recipe = (seed, attempts, trial)
            piece = shelf.get(
                "generators-trial", recipe, lambda trial=trial, n=attempts: _measure(lenet5(budget, seed), trial, n, 0)
            )
            found.setdefault(trial.generator, []).append(piece | {"trial": trials.index(trial)})
    return found


def _measure(network: Network, trial: Trial, attempts: int, seed: int) -> Piece:
    users = list(range(ALLOTMENT.capacity)) * attempts
    sources, bits = images(network, len(users), seed), entropy(seed, len(users))
    began = time.process_time()
    made = generate(
        network.predictor,
        sources,
        [ALLOTMENT.output(user) for user in users],
        method=trial.method,
        entropy=bits,
        settings=trial.settings,
    )
    spent = time.process_time() - began
    accepted = int(taken(network.predictor, made.grid, users).sum())
    distance = (network.predictor.input_spec.from_grid(made.grid) - sources).flatten(1).norm(dim=1)
    return {
        "label": trial.label,
        "shown": len(users),
        "accepted": accepted,
        "core_seconds": spent,
        "distance": float(distance.median()),
    }


def _round(budget: Budget, sizes: Sizes, chosen: dict[str, int], index: int) -> Piece:
    """Each generator once, on the same images; who begins changes from round to round."""
    network = lenet5(budget, _seed(budget, index))
    names = list(chosen)
    trials = {"Gauss-Newton": GAUSS_NEWTON, "C&W": CARLINI_WAGNER, "C&W, fastest": CARLINI_WAGNER, "Adam": ADAM}
    return {
        name: _measure(network, trials[name][chosen[name]], sizes.round_attempts, 100 + index)
        for name in names[index % len(names) :] + names[: index % len(names)]
    }


def _seed(budget: Budget, index: int) -> int:
    """Of the network of a round: not the one that budgets were chosen on, where there is another."""
    others = seeds(budget)[1:] or seeds(budget)
    return others[index % len(others)]


def _yield(piece: Piece) -> float:
    return float(piece["accepted"] / piece["shown"])


def _rate(piece: Piece) -> float:
    return float(piece["accepted"] / piece["core_seconds"])


def _by_yield(piece: Piece) -> tuple[float, float]:
    """The highest yield first, then the fastest."""
    return _yield(piece), _rate(piece)


def _sum(rounds: Sequence[Piece], name: str) -> Piece:
    return {what: float(_of(rounds, name, what).sum()) for what in ("shown", "accepted", "core_seconds")}


def _of(rounds: Sequence[Piece], name: str, what: str) -> Floats:
    return np.array([one[name][what] for one in rounds], dtype=np.float64)


def rate_ratio(
    first: tuple[Floats, Floats], second: tuple[Floats, Floats], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Accepted and core-seconds by round, of two -> the ratio of their rates and its bootstrap interval over rounds."""
    drawn = rng.integers(len(first[0]), size=(RESAMPLES, len(first[0])))
    (a, b), (c, d) = first, second
    resampled = (a[drawn].sum(1) / b[drawn].sum(1)) / (c[drawn].sum(1) / d[drawn].sum(1))
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float((a.sum() / b.sum()) / (c.sum() / d.sum())), float(low), float(high)


def _ratio(rounds: Sequence[Piece], other: str) -> tuple[float, float, float]:
    ours, theirs = (
        (_of(rounds, name, "accepted"), _of(rounds, name, "core_seconds")) for name in ("Gauss-Newton", other)
    )
    return rate_ratio(ours, theirs, np.random.default_rng(0))


def _row(id: str, over: str, wanted: float, rounds: Sequence[Piece], other: str, extra: dict[str, object]) -> Row:
    value, low, high = _ratio(rounds, other)
    n = int(_of(rounds, "Gauss-Newton", "shown").sum() + _of(rounds, other, "shown").sum())
    how = f"bootstrap over {len(rounds)} rounds, 95 %"
    what = f"accepted fingerprints per core-second on c in {{0.2, 0.3, 0.4}}, Gauss-Newton over {over}"
    return Row(id, what, bar(">=", wanted, "low"), value, n, low, high, how, extra)
