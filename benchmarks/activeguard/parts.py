"""Which rows there are and what measures them, in the order of the table."""

from benchmarks.activeguard import engines, fingerprints, marks
from benchmarks.activeguard.budgets import BUDGETS, Budget
from benchmarks.plots import draw_all
from benchmarks.runner import Experiments

PARTS = (*fingerprints.PARTS, *marks.PARTS, *engines.PARTS)
PLOTS = (*fingerprints.PLOTS, *marks.PLOTS, *engines.PLOTS)


def draw(budget: Budget) -> None:
    """Every plot whose data is there."""
    draw_all(PLOTS, budget, "activeguard.json")


ACTIVEGUARD = Experiments(
    "activeguard", "ActiveGuard, measured", PARTS, BUDGETS, draw, tuple(plot.file for plot in PLOTS)
)
