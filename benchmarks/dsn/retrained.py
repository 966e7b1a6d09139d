"""Tables 3, 5 and 6, and Figure 2: thieves who train on, with a share of the owner's images, against scratch."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import annotated, percent
from benchmarks.dsn.thieves import (
    FINE_TUNED,
    NEW_HEAD,
    OVERWRITTEN,
    OVERWRITTEN_KNOWN,
    SCRATCH,
    Thieves,
    described,
    gains,
    plan_of,
)
from benchmarks.plots import COLOURS, LINES, Plot, save, subplots
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, bars, table
from benchmarks.runner import Part
from benchmarks.statistics import t_interval

SHARES = (10, 20, 30, 40)
SCRATCH_PAPER = (93.2, 94.5, 95.7, 96.7)  # MNIST* in Tables 3 and 5
CURVES = "figure2.json"


@dataclass(frozen=True)
class Table:
    """One of the paper's tables: whose rows it is, its figures at 10, 20, 30 and 40 %, and seeds at the most."""

    number: int
    name: str
    side: str
    paper: tuple[float, ...]
    seeds: int = 5

    def rows(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(row_id(self.side, share) for share in SHARES)


TABLES = (
    Table(3, "fine_tuning", FINE_TUNED, (94.7, 95.4, 96.6, 97.0)),
    Table(5, "transfer", NEW_HEAD, (93.6, 94.5, 95.6, 96.9)),
    Table(6, "overwriting", OVERWRITTEN, (93.2, 93.7, 94.3, 95.8), seeds=3),  # two and three passes a batch
    Table(6, "overwriting_known", OVERWRITTEN_KNOWN, (93.2, 93.7, 94.3, 95.8), seeds=3),
)
BAR = bars(bar("<=", 0), bar("<", 1, "high"))
HOW = "Student's t over seeds, 95 %"
_WHAT = {
    FINE_TUNED: "fine-tuned",
    NEW_HEAD: "given fresh dense layers and trained on",
    OVERWRITTEN: "overwritten with a number of the thief's",
    OVERWRITTEN_KNOWN: "overwritten by a thief who has the old number",
}


def row_id(side: str, share: int) -> str:
    """Such as `fine_tuned_10`."""
    return f"{side.replace(', ', '_').replace(' ', '_').replace('-', '_')}_{share}"


def retrained(which: Table, budget: Budget, steps: Steps) -> list[Row]:
    """A table's rows: for each share, what the thief reaches over what training from scratch does."""
    thieves, sides = Thieves.of(budget), (SCRATCH, which.side)
    rows, lines, curves = [], [], {}
    tests: dict[str, list[str]] = {side: [] for side in sides}
    for share in steps.over(SHARES, f"table {which.number}, by share"):
        seeds = range(min(which.seeds, plan_of(budget, share).seeds))
        runs = {side: thieves.runs(side, share, seeds) for side in sides}
        for side, several in runs.items():
            tests[side].append(percent(mean(run.test for run in several)))
        curves[share] = {side: [run.curve for run in several] for side, several in runs.items()}
        settings = {side: described(thieves.setting(side, share)) for side in sides}
        rows.append(_row(which.side, share, gains(runs[which.side], runs[SCRATCH]), settings))
        lines.append([f"{share} %", f"{rows[-1].value:+.2f}", *settings.values()])
    if which.side == FINE_TUNED:
        (budget.data() / CURVES).write_text(json.dumps(curves))
    chosen = table(f"{_title(which)}: settings chosen", ["images", "gain, points", "scratch", "thief"], lines)
    minutes = thieves.shelf.minutes / len(rows)
    return annotated(rows, [_table(which, tests), chosen], resumed_core_minutes=minutes)


def _row(side: str, share: int, found: list[float], settings: dict[str, str]) -> Row:
    what = f"MNIST student {_WHAT[side]} with {share} % of the images, less scratch with the same, both tuned, points"
    extra = {"gains": found, "seeds": list(range(len(found))), "settings": settings}
    return Row(row_id(side, share), what, BAR, mean(found), len(found), *t_interval(found), HOW, extra)


def _title(which: Table) -> str:
    return f"Table {which.number}, MNIST, {which.side}"


def _table(which: Table, tests: dict[str, list[str]]) -> dict[str, object]:
    scratch = [str(value) for value in SCRATCH_PAPER] if which.number != 6 else [""] * len(SHARES)
    rows = [["the paper", SCRATCH, *scratch], ["the paper", "thief", *map(str, which.paper)]]
    rows += [["here", side, *cells] for side, cells in tests.items()]
    more = ", the thief's with his own number" if which.number == 6 else ""
    return table(f"{_title(which)}: test accuracy{more}, %", ["", "", *(f"{share} %" for share in SHARES)], rows)


def _figure2(data: Path, picture: Path) -> None:
    """Validation accuracy by epoch, of the thief and of scratch, every seed."""
    content = json.loads(data.read_text())
    figure, axes = subplots(1, len(content), (2.6 * len(content), 2.6), sharey=True)
    for axis, (share, sides) in zip(axes, sorted(content.items(), key=lambda item: int(item[0])), strict=True):
        for (side, curves), colour, line in zip(sorted(sides.items()), COLOURS, LINES, strict=False):
            for index, curve in enumerate(curves):
                epochs = range(1, len(curve) + 1)
                axis.plot(epochs, [100 * y for y in curve], line, color=colour, label="" if index else side)
        axis.set(title=f"{share} % of the images", xlabel="epoch")
    axes[0].set(ylabel="validation accuracy, %")
    axes[0].legend(frameon=False, fontsize=7)
    save(figure, picture)


PARTS: tuple[Part[Budget], ...] = tuple(Part(one.name, one.rows(), partial(retrained, one)) for one in TABLES)
PLOT = Plot("dsn_figure2", CURVES, _figure2)
