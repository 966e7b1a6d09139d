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
    plan_of,
)
from benchmarks.plots import COLOURS, LINES, Plot, save, subplots
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, bars, table
from benchmarks.runner import Part
from benchmarks.statistics import t_interval

SHARES = (10, 20, 30, 40)
SEEDS = 5  # at the most
SCRATCH_PAPER = (93.2, 94.5, 95.7, 96.7)  # MNIST* in Tables 3 and 5
CURVES = "figure2.json"


@dataclass(frozen=True)
class Table:
    """One of the paper's tables: whose rows it is, and its figures at 10, 20, 30 and 40 %."""

    number: int
    name: str
    sides: tuple[str, ...]
    paper: tuple[float, ...]

    def rows(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(row_id(side, share) for side in self.sides for share in SHARES)


TABLES = (
    Table(3, "fine_tuning", (FINE_TUNED,), (94.7, 95.4, 96.6, 97.0)),
    Table(5, "transfer", (NEW_HEAD,), (93.6, 94.5, 95.6, 96.9)),
    Table(6, "overwriting", (OVERWRITTEN, OVERWRITTEN_KNOWN), (93.2, 93.7, 94.3, 95.8)),
)
BAR = bars(bar("<=", 0), bar("<", 1, "high"))
_HOW = "Student's t over seeds, 95 %"
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
    thieves, rows, lines, curves = Thieves.of(budget), [], [], {}
    ours: dict[str, list[str]] = {side: [] for side in (SCRATCH, *which.sides)}
    for share in steps.over(SHARES, f"table {which.number}, by share"):
        seeds = range(min(SEEDS, plan_of(budget, share).seeds))
        scratch = thieves.runs(SCRATCH, share, seeds)
        ours[SCRATCH].append(percent(mean(run.test for run in scratch)))
        for side in which.sides:
            found = thieves.runs(side, share, seeds)
            ours[side].append(percent(mean(run.test for run in found)))
            gains = [100 * (run.test - rival.test) for run, rival in zip(found, scratch, strict=True)]
            settings = {name: described(thieves.setting(name, share)) for name in (side, SCRATCH)}
            rows.append(_row(side, share, gains, settings))
            curves |= {name: [run.curve for run in runs] for name, runs in ((side, found), (SCRATCH, scratch))}
            lines.append([_WHAT[side], f"{share} %", f"{mean(gains):+.2f}", *settings.values()])
            if side == FINE_TUNED:
                _keep_curves(budget, share, curves)
    rows.sort(key=lambda row: which.rows().index(row.id))
    settings = table(f"Table {which.number}: settings chosen", ["thief", "images", "gain", "his", "scratch"], lines)
    minutes = thieves.shelf.minutes / len(rows)
    return annotated(rows, [_table(which, ours), settings], resumed_core_minutes=minutes)


def _row(side: str, share: int, gains: list[float], settings: dict[str, str]) -> Row:
    what = f"MNIST student {_WHAT[side]} with {share} % of the images, less scratch with the same, both tuned, points"
    extra = {"gains": gains, "seeds": list(range(len(gains))), "settings": settings}
    interval = t_interval(gains)
    return Row(
        row_id(side, share), what, BAR, mean(gains), len(gains), *interval, "Student's t over seeds, 95 %", extra
    )


def _table(which: Table, ours: dict[str, list[str]]) -> dict[str, object]:
    scratch = [str(value) for value in SCRATCH_PAPER] if which.number != 6 else [""] * len(SHARES)
    rows = [["the paper", "thief", *map(str, which.paper)], ["the paper", "scratch", *scratch]]
    rows += [["here", side, *cells] for side, cells in ours.items()]
    more = ", with the thief's own number" if which.number == 6 else ""
    title = f"Table {which.number}, MNIST: test accuracy{more}, %"
    return table(title, ["", "", *(f"{share} %" for share in SHARES)], rows)


def _keep_curves(budget: Budget, share: int, curves: dict[str, list[tuple[float, ...]]]) -> None:
    """For Figure 2."""
    file = budget.data() / CURVES
    content = json.loads(file.read_text()) if file.exists() else {}
    content[str(share)] = curves
    file.write_text(json.dumps(content))


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
