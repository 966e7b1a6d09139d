"""Table 2: what a mark costs in accuracy, over networks paired by seed and schedule, and whether it is there."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.counting import exact_cell, percent, share_row, verified_cell
from benchmarks.activeguard.marks.networks import (
    Finding,
    Marked,
    images,
    plain,
    published,
    right,
    schedule_of,
    strong,
    trained_on,
)
from benchmarks.kept import Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, table
from benchmarks.statistics import t_interval

WAYS = {
    "mark_drop_scratch": "wm1 and wm2 as published, trained from scratch, beside the same training without them",
    "mark_drop_fine_tuned": "wm1 and wm2 as published, by fine-tuning, beside the same fine-tuning without them",
    "mark_drop_strong": "three registered marks of 3200 digits, beside the same fine-tuning without them",
}
ROWS = (*WAYS, "marks_exact")
MOST = 0.2  # percentage points, either way
HOW = "Student's t over pairs, or normal over images where that is wider, 95 %"
Rights = NDArray[np.bool_]  # test images that are right (N,)
PAPER = {  # Table 2, LeNet-5: test accuracy, accuracy drop, V_owner
    "plain": ("99.12 %", "", ""),
    "mark_drop_scratch": ("99.15 %", "-0.03", "success"),
    "mark_drop_fine_tuned": ("99.12 %", "0", "success"),
}


def table2(budget: Budget, steps: Steps) -> list[Row]:
    """The networks of all seeds."""
    shelf, dataset = Shelf.of(budget, "marks"), images(budget)
    found: dict[str, list[Rights]] = {}
    findings: dict[str, list[Finding]] = {}
    for seed in steps.over(range(schedule_of(budget).seeds), "table 2, by seed"):
        marked: dict[str, Marked] = {
            "mark_drop_scratch": published(budget, shelf, seed, scratch=True),
            "mark_drop_fine_tuned": published(budget, shelf, seed, scratch=False),
            "mark_drop_strong": strong(budget, shelf, seed),
        }
        networks = {"plain": plain(budget, shelf, seed), "control": trained_on(budget, shelf, seed)}
        for name, network in [*networks.items(), *((name, one.network) for name, one in marked.items())]:
            found.setdefault(name, []).append(right(network, dataset))
        for name, one in marked.items():
            findings.setdefault(name, []).extend(one.findings(one.network).values())
    return _rows(found, findings, shelf)


def _rows(found: dict[str, list[Rights]], findings: dict[str, list[Finding]], shelf: Shelf) -> list[Row]:
    accuracies = {name: [float(each.mean()) for each in rights] for name, rights in found.items()}
    extra = {"resumed_core_minutes": shelf.minutes / len(ROWS), "seeds": list(range(len(accuracies["plain"])))}
    rows, lines = [], [_line("plain", "unmarked", accuracies), _line("control", "unmarked, fine-tuned", accuracies)]
    for name, what in WAYS.items():
        pair = "plain" if name == "mark_drop_scratch" else "control"
        pairs = list(zip(found[pair], found[name], strict=True))
        drops = [100 * float(before.mean() - after.mean()) for before, after in pairs]
        low, high = interval(pairs)
        by_seed = {"accuracies": accuracies[name], "paired_with": accuracies[pair], "drops": drops}
        told = f"MNIST LeNet-5, accuracy drop in percentage points: {what}"
        mean, wanted = float(np.mean(drops)), bar("within", [-MOST, MOST], "interval")
        rows.append(Row(name, told, wanted, mean, len(drops), low, high, HOW, extra | by_seed))
        cell = (verified_cell if name == "mark_drop_strong" else exact_cell)(findings[name])
        drop = f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"
        lines.append(_line(name, what.split(", beside")[0], accuracies, drop, cell))
    columns = ["network", "test accuracy", "paper's", "drop", "paper's", "exact, or verified", "paper's"]
    every = [finding.success for each in findings.values() for finding in each]
    tables = [table("Table 2, LeNet-5 on MNIST", columns, lines)]
    told = "marks of Table 2, published ones with every digit exact, registered ones verified: share"
    return [*rows, share_row("marks_exact", told, every, extra | {"tables": tables})]


def interval(pairs: Sequence[tuple[Rights, Rights]]) -> tuple[float, float]:
    """Of the mean drop in percentage points, with what is right of the same images before and after.

    Student's t over pairs sees how networks differ by their seeds; few that happen to agree would make it narrow, so it
    is no narrower than what the choice of the images alone leaves open.
    """
    changes = np.concatenate([before.astype(float) - after for before, after in pairs])
    mean, half = 100 * changes.mean(), 100 * 1.96 * changes.std() / np.sqrt(len(changes))
    low, high = t_interval([100 * float(before.mean() - after.mean()) for before, after in pairs])
    return min(low, mean - half), max(high, mean + half)


def _line(
    name: str, what: str, accuracies: dict[str, list[float]], drop: str = "", success: str = ""
) -> tuple[str, ...]:
    accuracy, its_drop, verdict = PAPER.get(name, ("", "", ""))
    return what, percent(accuracies[name]), accuracy, drop, its_drop, success, verdict
