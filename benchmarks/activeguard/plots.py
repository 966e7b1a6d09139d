"""Plots: each is drawn anew from its data after every measurement, if matplotlib is there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.activeguard.budgets import Budget
from benchmarks.progress import console


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture `<results>/<name>.svg`, drawn from `<runs>/<data>` by `draw(data, picture)`."""

    name: str  # begins with activeguard_
    data: str
    draw: Callable[[Path, Path], None]

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.name}.svg"


def draw_all(plots: Sequence[Plot], budget: Budget) -> None:
    """Those whose data is there."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        console.print("  matplotlib is not installed: no plots", highlight=False)
        return
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "signet", "svg.fonttype": "none", "font.size": 9}
    for plot in plots:
        if (budget.data() / plot.data).exists():
            plot.draw(budget.data() / plot.data, budget.results / plot.file)
