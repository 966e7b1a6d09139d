"""Plots: each is drawn anew from its data after every measurement, if matplotlib is there."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.progress import console

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: all can tell them apart
LINES = ("-", "--", ":", "-.")
MARKS = "osD^vP"


class Drawing(Protocol):
    """A budget: where results go, and what is behind its plots."""

    @property
    def results(self) -> Path:
        """The folder of the results file."""

    def data(self) -> Path:
        """The folder of what is behind the plots."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture `<results>/<name>.svg`, drawn by `draw(data, picture)`.

    `data` is a file under the budget's `runs/`; without it, the results file itself is drawn from.
    """

    name: str  # begins with that of the results file
    data: str | None
    draw: Callable[[Path, Path], None]

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.name}.svg"


def draw_all(plots: Sequence[Plot], budget: Drawing, results: str) -> None:
    """Those whose data is there; `results` is the name of the results file."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        console.print("  matplotlib is not installed: no plots", highlight=False)
        return
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "signet", "svg.fonttype": "none", "font.size": 9}
    for plot in plots:
        data = budget.data() / plot.data if plot.data else budget.results / results
        if data.exists():
            plot.draw(data, budget.results / plot.file)


def rows_of(results: Path) -> dict[str, dict[str, Any]]:
    """The rows of a results file by id."""
    return {row["id"]: row for row in json.loads(results.read_text())["rows"]}


def subplots(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, list[Any]]:
    """A figure of so many inches, and its panels row by row."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)
    return figure, list(axes.flat)


def save(figure: Any, picture: Path) -> None:
    """Without a date: the same figures give the same file."""
    from matplotlib import pyplot

    figure.savefig(picture, metadata={"Date": None})
    pyplot.close(figure)
