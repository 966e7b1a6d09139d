"""Parts of the results file: engines."""

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.engines import drift, overhead, wide
from benchmarks.plots import Plot
from benchmarks.runner import Part

PARTS: tuple[Part[Budget], ...] = (
    Part("engines", drift.ROWS, drift.drift),
    Part("wide", wide.ROWS, wide.wide),
    Part("overhead", overhead.ROWS, overhead.overhead),
)
PLOTS: tuple[Plot, ...] = (drift.PLOT,)
