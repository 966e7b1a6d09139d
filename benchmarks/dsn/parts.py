"""Which rows there are and what measures them, in the order of the table."""

from benchmarks.dsn import (
    adaptive,
    bits_off,
    cost,
    figure3,
    gateway,
    legal,
    published,
    retrained,
    search,
    table2,
    table4,
    traces,
)
from benchmarks.dsn.budgets import BUDGETS, Budget
from benchmarks.plots import draw_all
from benchmarks.runner import Experiments

PARTS = (
    *table2.PARTS,
    *published.PARTS,
    *bits_off.PARTS,
    *search.PARTS,
    *retrained.PARTS,
    *adaptive.PARTS,
    *table4.PARTS,
    *traces.PARTS,
    *cost.PARTS,
    *figure3.PARTS,
    *legal.PARTS,
    *gateway.PARTS,
)
PLOTS = (bits_off.PLOT, retrained.PLOT, figure3.PLOT)


def draw(budget: Budget) -> None:
    """Every plot whose data is there."""
    draw_all(PLOTS, budget, "dsn.json")


DSN = Experiments("dsn", "Deep Serial Number, measured", PARTS, BUDGETS, draw, tuple(plot.file for plot in PLOTS))
