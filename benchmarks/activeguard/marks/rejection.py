"""How often chance alone gives a small p: 10^6 commitments, each read in twenty networks that nobody marked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks import batch
from benchmarks.activeguard.marks.innocents import digits_of, innocents, ranks_of
from benchmarks.activeguard.marks.networks import schedule_of, strong
from benchmarks.kept import Shelf
from benchmarks.plots import COLOURS, MARKS, Plot, save, subplots
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from models.watermarks import registered
from models.watermarks.digit_map import BASE

ALPHAS = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4, "1e-5": 1e-5}
ROWS = tuple(f"rejection_{name}" for name in ALPHAS)
DATA = "marks_rejection.json"
STATISTICS = ("digits", "ranks")
CLEAR = 1.5  # standard deviations: p of what is less is above 0.05, five times the largest alpha


@dataclass(frozen=True, slots=True)
class Sizes:
    """Statements of each owner, and keys of each statement."""

    statements: int
    keys: int


SIZES = {"smoke": Sizes(2, 500), "cpu": Sizes(100, 2_000), "gpu": Sizes(100, 2_000)}


def rejection(budget: Budget, steps: Steps) -> list[Row]:
    """p before any adjustment, of each statistic by itself: the strictest reading of the claim."""
    shelf, sizes, rng = Shelf.of(budget, "marks"), SIZES[budget.name], np.random.default_rng(6)
    networks = innocents(budget, shelf)
    owners = [strong(budget, shelf, seed).commitment.parameters for seed in range(schedule_of(budget).attacked)]
    low = np.zeros((len(STATISTICS), len(networks), len(ALPHAS)), dtype=np.int64)
    for owner, parameters in enumerate(owners):
        layers = [
            (digits_of(network, parameters.layer, parameters.digit_map), ranks_of(network, parameters.layer))
            for network in networks.values()
        ]
        for number in steps.over(range(sizes.statements), f"rejection, owner {owner}"):
            statement = replace(parameters, model=f"{parameters.model}, statement {number}")
            keys = [rng.bytes(registered.marks.KEY) for _ in range(sizes.keys)]
            marks = batch.open_marks(statement, number % statement.marks, keys)
            for at, (digits, ranks) in enumerate(layers):
                low[0, at] += _rejected(digits, marks, statement.null_frequencies)
                low[1, at] += _below(10.0 ** batch.log10_rank_tails(ranks, marks))
    commitments = len(owners) * sizes.statements * sizes.keys
    return _rows(budget, low, commitments, list(networks))


def _rejected(layer: batch.Digits, marks: batch.Marks, null: tuple[float, ...]) -> batch.Ints:
    """How many p of the digits are at most each alpha (alphas,)."""
    # no chance is below 1 / 10: where that binomial's tail is not small enough, p is not
    near = batch.matching(layer, marks) >= stats.binom.isf(max(ALPHAS.values()), marks.digits.shape[1], 1 / BASE)
    reading = batch.read(layer, marks.take(near), null)
    high = reading.score() > CLEAR
    return _below(reading.take(high).tail() if high.any() else np.ones(0))


def _below(p: batch.Floats) -> batch.Ints:
    return np.array([(p <= alpha).sum() for alpha in ALPHAS.values()])


def _rows(budget: Budget, low: batch.Ints, commitments: int, networks: list[str]) -> list[Row]:
    shown = commitments * len(networks)
    by_statistic = {
        statistic: dict(zip(ALPHAS, low[row].sum(axis=0).tolist(), strict=True))
        for row, statistic in enumerate(STATISTICS)
    }
    data = {"alphas": list(ALPHAS.values()), "shown": shown, "counts": low.sum(axis=1).tolist()}
    (budget.data() / DATA).write_text(json.dumps(data))
    rows = []
    for at, (name, alpha) in enumerate(ALPHAS.items()):
        worst = int(low[:, :, at].sum(axis=1).max())
        extra: Mapping[str, object] = {
            "commitments": commitments,
            "networks": networks,
            "rejected_by_statistic": by_statistic,
            "largest_rate_in_one_network": float(low[:, :, at].max() / commitments),
            "p": "of one reading as it stands, before the adjustments for readings, alignments and tests",
        }
        what = f"marks drawn by hash, read in unmarked networks: share with p <= {name}, of the statistic with more"
        rows.append(
            Row(
                f"rejection_{name}",
                what,
                bar("<=", alpha, "high"),
                worst / shown,
                shown,
                *exact(worst, shown),
                "exact, 95 %",
                extra,
            )
        )
    return rows


def _draw(data: Path, picture: Path) -> None:
    """Upper end of the rate of rejection by alpha, a line a statistic, beside the diagonal."""
    found = json.loads(data.read_text())
    figure, (panel,) = subplots(1, 1, (5, 3.5))
    panel.plot(found["alphas"], found["alphas"], "--", color="black", linewidth=1, label="rate = alpha")
    shifts = (0.95, 1.05)  # so that equal ones do not hide one another
    styles = zip(MARKS, COLOURS, shifts, strict=False)
    for statistic, counts, (marker, colour, shift) in zip(STATISTICS, found["counts"], styles, strict=False):
        high = [exact(count, found["shown"])[1] for count in counts]
        at = [shift * alpha for alpha in found["alphas"]]
        panel.plot(at, high, marker=marker, color=colour, label=statistic)
    panel.set(xscale="log", yscale="log", xlabel="alpha", ylabel="share with p <= alpha, upper 95 % end")
    panel.legend(frameon=False)
    save(figure, picture)


PLOT = Plot("activeguard_rejection", DATA, _draw)
