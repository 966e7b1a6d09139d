"""Table 4: marks after pruning, of the marked layer alone as in the paper, and of the whole network."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import mean

from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.counting import exact_cell, percent, share_row, successes, verified_cell
from benchmarks.activeguard.marks.judged import judged
from benchmarks.activeguard.marks.networks import (
    MARKS,
    Finding,
    schedule_of,
)
from benchmarks.kept import Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, table
from models.attacks.pruning import prune_globally, prune_layer

ROWS = ("pruned", "pruned_strong")
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
KINDS: dict[str, Callable[..., nn.Module]] = {
    "layer": lambda one, rate: prune_layer(one.network, one.layer, rate),
    "whole": lambda one, rate: prune_globally(one.network, rate),
}
LEAST = 0.6
PAPER = {  # Table 4, LeNet-5, by rate: accuracy with wm1, V_owner, accuracy with wm2 (success at every rate)
    0.1: ("99.15 %", True, "99.15 %"),
    0.2: ("99.15 %", True, "99.09 %"),
    0.3: ("99.07 %", True, "99.08 %"),
    0.4: ("98.97 %", True, "99.06 %"),
    0.5: ("98.89 %", False, "99.00 %"),
    0.6: ("98.54 %", False, "98.93 %"),
    0.7: ("95.80 %", False, "98.75 %"),
    0.8: ("91.02 %", False, "97.46 %"),
    0.9: ("68.38 %", False, "85.36 %"),
}

Cell = tuple[str, str, float]  # what was pruned, which mark or network, rate


def table4(budget: Budget, steps: Steps) -> list[Row]:
    """All networks of all seeds, pruned at every rate; nothing is trained after it, as in the paper."""
    shelf = Shelf.of(budget, "marks")
    accuracies: dict[Cell, list[float]] = {}
    findings: dict[Cell, list[Finding]] = {}
    seeds = range(schedule_of(budget).attacked)
    attacks = {f"{kind} {rate}": partial(prune, rate=rate) for kind, prune in KINDS.items() for rate in RATES}
    for seed in steps.over(seeds, "table 4, by seed"):
        for one in judged(budget, shelf, "pruned", seed, attacks):
            kind, rate = one.attack.split()
            accuracies.setdefault((kind, one.whose, float(rate)), []).append(one.accuracy)
            for mark, found in one.findings.items():
                whose = mark if one.whose == "published" else one.whose
                findings.setdefault((kind, whose, float(rate)), []).append(found)
    rows = _published(accuracies, findings, len(seeds)), _strong(findings, len(seeds))
    minutes = {"resumed_core_minutes": shelf.minutes / len(ROWS)}
    return [replace(row, extra={**row.extra, **minutes}) for row in rows]


def _published(accuracies: dict[Cell, list[float]], findings: dict[Cell, list[Finding]], seeds: int) -> Row:
    """Wherever the paper has a success."""
    wanted = [
        found.success
        for rate, (_, first, _) in PAPER.items()
        for mark in (("wm1", "wm2") if first else ("wm2",))
        for found in findings["layer", mark, rate]
    ]
    every = {f"{kind}, {whose}, {rate:g}": successes(found) for (kind, whose, rate), found in findings.items()}
    extra = {"seeds": list(range(seeds)), "by_kind_and_rate": every}
    extra |= {"curve": [_point(kind, rate, accuracies, findings) for kind in KINDS for rate in RATES]}
    extra |= {"tables": [_table(kind, accuracies, findings) for kind in KINDS]}
    what = (
        "wm1 and wm2 as published, the marked layer pruned, where the paper has success: share with every digit exact"
    )
    return share_row("pruned", what, wanted, extra)


def _strong(findings: dict[Cell, list[Finding]], seeds: int) -> Row:
    marks = len(findings["layer", "strong", RATES[0]]) // seeds

    def largest(kind: str, seed: int) -> float:
        reached = 0.0
        for rate in RATES:
            if not all(one.success for one in findings[kind, "strong", rate][seed * marks : (seed + 1) * marks]):
                break
            reached = rate
        return reached

    by_kind = {kind: [largest(kind, seed) for seed in range(seeds)] for kind in KINDS}
    each = [rate for rates in by_kind.values() for rate in rates]
    what = "registered marks: largest share of weights pruned, up to which all marks of all seeds are verified"
    extra = {"seeds": list(range(seeds)), "marks": marks, "by_kind_and_seed": by_kind}
    how = "least and most over seeds and kinds"
    return Row("pruned_strong", what, bar(">=", LEAST), min(each), len(each), min(each), max(each), how, extra)


def _point(
    kind: str, rate: float, accuracies: dict[Cell, list[float]], findings: dict[Cell, list[Finding]]
) -> dict[str, object]:
    """What the plot shows at one rate."""
    first, _, second = PAPER[rate]
    named = (("wm1", first), ("wm2", second)) if kind == "layer" else ()
    return {
        "kind": kind,
        "rate": rate,
        "paper": {name: float(value.rstrip(" %")) for name, value in named},
        "accuracy": {f"{name} form": mean(accuracies[kind, name, rate]) for name in ("published", "strong")},
        "digits": {mark: mean(found.measure for found in findings[kind, mark, rate]) for mark in MARKS},
        "log10_p": {"strong form": max(found.measure for found in findings[kind, "strong", rate])},
    }


def _table(kind: str, accuracies: dict[Cell, list[float]], findings: dict[Cell, list[Finding]]) -> dict[str, object]:
    lines = []
    for rate in RATES:
        first, success, second = PAPER[rate] if kind == "layer" else ("", None, "")
        told = {True: "success", False: "failure", None: ""}[success]
        always = "" if success is None else "success"
        ours = [exact_cell(findings[kind, mark, rate]) for mark in MARKS]
        sure = verified_cell(findings[kind, "strong", rate])
        reached = [percent(accuracies[kind, name, rate]) for name in ("published", "strong")]
        lines.append((f"{rate:.0%}", f"{first} {told}", f"{second} {always}", reached[0], *ours, reached[1], sure))
    what = "the marked layer pruned" if kind == "layer" else "the whole network pruned"
    columns = ["pruned", "paper, wm1", "paper, wm2", "published form", "wm1", "wm2", "strong form", "verified"]
    return table(f"Table 4, LeNet-5 on MNIST, {what}", columns, lines)
