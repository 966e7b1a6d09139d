"""Accepted fingerprints per core-second: Gauss-Newton, the paper's C&W and Adam, each at the budget that suits it best.

Budgets are chosen on one seed's network and measured on the others', in one process and in turn. A budget is steps and
rate, and what follows rounding: nothing, or the finish to the paper's epsilon, with restarts. What counts are 8-bit
images that the paper's control layer takes for their user. C&W stands at its highest yield, the fastest of equals.
Adam's fastest budgets throw pixels about and leave noise, so its fastest whose images still look like their starts
stands beside, as an adversarial example should: a median distance of at most 8, where black against white is 28.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product

import numpy as np

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.networks import Network, entropy, images, lenet5, seeds
from benchmarks.activeguard.fingerprints.table1 import ALLOTMENT, taken
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import Floats
from models.fingerprints.activeguard import (
    Adam,
    CarliniWagner,
    GaussNewton,
    GenerationSettings,
    generate,
)

GENERATORS = ("generators_cw", "generators_adam")
YIELDS = "generators.json"  # behind the plot
RESAMPLES = 10_000
NEAR = 8.0  # Euclidean, in units of the value range
FINISHES = {
    "rounding alone": GenerationSettings(rounds=0, attempts=1),
    "finish and restarts": GenerationSettings(tolerance=ALLOTMENT.epsilon),
}
ROUNDED_NEAR = 2e-3  # how near the search has to come when nothing follows rounding


@dataclass(frozen=True)
class Trial:
    """A generator with a budget."""

    generator: str
    method: GaussNewton | CarliniWagner | Adam
    finish: str
    batch_size: int

    @property
    def settings(self) -> GenerationSettings:
        """Of the finish, in batches of this size."""
        return replace(FINISHES[self.finish], batch_size=self.batch_size)

    @property
    def label(self) -> str:
        """As it stands in the table."""
        shown = {key: value for key, value in asdict(self.method).items() if key in _SHOWN}
        options = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in shown.items())
        return f"{options}, {self.finish}"


_SHOWN = ("steps", "step_size", "alpha", "radius")


def _trials(generator: str, methods: Sequence[GaussNewton | CarliniWagner | Adam], batch_size: int) -> list[Trial]:
    """Each method with each finish."""
    return [
        Trial(
            generator, replace(method, near=ROUNDED_NEAR) if finish == "rounding alone" else method, finish, batch_size
        )
        for method in methods
        for finish in FINISHES
    ]


GAUSS_NEWTON = _trials(
    "Gauss-Newton", [GaussNewton(steps=steps, radius=radius) for steps, radius in product((15, 40), (3.0, 6.0))], 80
)
CARLINI_WAGNER = _trials(
    "C&W",
    [
        CarliniWagner(steps=steps, step_size=rate, alpha=alpha)
        for steps, rate, alpha in product((300, 1000), (0.03, 0.1), (100.0, 1000.0))
    ],
    64,
)
ADAM = _trials(
    "Adam", [Adam(steps=steps, step_size=rate) for steps, rate in product((100, 200), (0.02, 0.05, 0.1, 0.2))], 120
)


TRIALS = (GAUSS_NEWTON, CARLINI_WAGNER, ADAM)
_KINDS = [trials[0].generator for trials in TRIALS]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Trials of each generator, attempts at each of the 30 outputs in them, rounds, and attempts in each of those."""

    trials: int
    attempts: tuple[int, int, int]  # Gauss-Newton, C&W, Adam
    rounds: int
    round_attempts: tuple[int, int, int]


SIZES = {
    "smoke": Sizes(1, (1, 1, 1), 2, (1, 1, 1)),
    "cpu": Sizes(100, (8, 1, 4), 6, (8, 3, 8)),
    "gpu": Sizes(100, (30, 10, 15), 30, (32, 16, 32)),
}


def generators(budget: Budget, steps: Steps) -> list[Row]:
    """Choose, then measure in turn."""
    sizes, shelf = SIZES[budget.name], Shelf.of(budget, "fingerprints")
    tried = _choose(budget, sizes, shelf, steps)
    (budget.data() / YIELDS).write_text(json.dumps(tried))
    contest = {
        "Gauss-Newton": max(tried["Gauss-Newton"], key=_rate),
        "C&W": max(tried["C&W"], key=_by_yield),
        "C&W, fastest": max(tried["C&W"], key=_rate),
        "Adam": max(tried["Adam"], key=_rate),
        "Adam, near its start": max((one for one in tried["Adam"] if one["distance"] <= NEAR), key=_rate),
    }
    chosen = {name: piece["trial"] for name, piece in contest.items()}
    rounds = [
        shelf.piece(f"generators-{index}", (index, sizes, chosen), partial(_round, budget, sizes, chosen, index))
        for index in steps.over(range(sizes.rounds), "generators in turn")
    ]
    extra = {
        "rates": {name: _rate(_sum(rounds, name)) for name in contest},
        "yields": {name: _yield(_sum(rounds, name)) for name in contest},
        "budgets": {name: piece["label"] for name, piece in contest.items()},
        "chosen_on": f"network {seeds(budget)[0]}",
        "near": NEAR,
        "seeds": [_seed(budget, index) for index in range(sizes.rounds)],
        "resumed_core_minutes": shelf.minutes / 2,
    }
    fastest = {"over_fastest_cw": _ratio(rounds, "C&W, fastest"), "tables": [_table(tried, contest)]}
    near = {"over_adam_near_its_start": _ratio(rounds, "Adam, near its start")}
    return [
        _row(GENERATORS[0], "C&W at its highest yield", 20.0, rounds, "C&W", extra | fastest),
        _row(GENERATORS[1], "Adam", 5.0, rounds, "Adam", extra | near),
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
    for trials, attempts in zip(TRIALS, sizes.attempts, strict=True):
        for trial in steps.over(trials[: sizes.trials], f"{trials[0].generator}'s budgets"):
            recipe = (seed, attempts, trial)
            piece = shelf.piece(
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
    """Each generator once; who begins changes from round to round."""
    network, names = lenet5(budget, _seed(budget, index)), list(chosen)
    found = {}
    for name in names[index % len(names) :] + names[: index % len(names)]:
        kind = _KINDS.index(name.partition(",")[0])
        trial = TRIALS[kind][chosen[name]]
        found[name] = _measure(network, trial, sizes.round_attempts[kind], 100 + index)
    return found


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
