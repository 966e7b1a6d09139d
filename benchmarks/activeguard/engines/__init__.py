"""Parts of the results file: engines."""

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.plots import Plot
from benchmarks.runner import Part

PARTS: tuple[Part[Budget], ...] = ()
PLOTS: tuple[Plot, ...] = ()
