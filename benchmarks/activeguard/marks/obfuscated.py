"""Marks in copies that compute the same in other numbers, and in copies blurred by noise."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.counting import exact_cell, percent, share_row, verified_cell
from benchmarks.activeguard.marks.judged import judged
from benchmarks.activeguard.marks.networks import (
    Finding,
    Marked,
    schedule_of,
    strong,
)
from benchmarks.kept import Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, table
from models.attacks.noise import add_noise
from models.attacks.obfuscation import add_dummies, permute, rescale_units

ROWS = ("obfuscated", "noisy")
NOISE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # of each layer's standard deviation
ENOUGH = 0.05  # accuracy: a thief who loses more has spoilt what he stole

Attack = Callable[[nn.Module, torch.Generator], nn.Module]


def _all(network: nn.Module, generator: torch.Generator) -> nn.Module:
    changed = rescale_units(permute(network, generator=generator), generator=generator)
    return add_dummies(changed, generator=generator)


def _nothing(network: nn.Module, _: torch.Generator) -> nn.Module:
    return network


def _seeded(attack: Attack, seed: int, one: Marked) -> nn.Module:
    return attack(one.network, torch.Generator().manual_seed(1_700 + seed))


def _noise(strength: float) -> Attack:
    return lambda network, generator: add_noise(network, strength, generator=generator)


STRUCTURAL: dict[str, Attack] = {
    "permuted": lambda network, generator: permute(network, generator=generator),
    "rescaled": lambda network, generator: rescale_units(network, generator=generator),
    "a quarter of dummy units": lambda network, generator: add_dummies(network, generator=generator),
    "all three": _all,
    "all three, noise 0.1": lambda network, generator: _all(add_noise(network, 0.1, generator=generator), generator),
}
NOISY = {f"noise {strength:g}": _noise(strength) for strength in NOISE}


def obfuscated(budget: Budget, steps: Steps) -> list[Row]:
    """Every attack on both networks of every seed."""
    shelf, seeds = Shelf.of(budget, "marks"), schedule_of(budget).attacked
    accuracies: dict[tuple[str, str], list[float]] = {}
    findings: dict[tuple[str, str], list[Finding]] = {}
    for seed in steps.over(range(seeds), "obfuscated, by seed"):
        attacks = {
            name: partial(_seeded, attack, seed) for name, attack in {"none": _nothing, **STRUCTURAL, **NOISY}.items()
        }
        for one in judged(budget, shelf, "obfuscated", seed, attacks):
            accuracies.setdefault((one.whose, one.attack), []).append(one.accuracy)
            findings.setdefault((one.whose, one.attack), []).extend(one.findings.values())
    minutes = {"resumed_core_minutes": shelf.minutes / len(ROWS)}
    row, noisy = (replace(row, extra={**row.extra, **minutes}) for row in _rows(accuracies, findings, seeds))
    first = strong(budget, shelf, 0)
    paid = {reading.way: reading.log10_alignments for reading in first.verify(first.network)[0].readings}
    return [replace(row, extra={**row.extra, "log10_alignments": paid}), noisy]


def _rows(
    accuracies: dict[tuple[str, str], list[float]], findings: dict[tuple[str, str], list[Finding]], seeds: int
) -> list[Row]:
    def mean(attack: str) -> float:
        return sum(accuracies["strong", attack]) / seeds

    lines = []
    for attack in ["none", *STRUCTURAL, *NOISY]:
        reached = [percent(accuracies[name, attack]) for name in ("published", "strong")]
        weak, sure = exact_cell(findings["published", attack]), verified_cell(findings["strong", attack])
        lines.append((attack, reached[0], weak, reached[1], sure))
    bearable = [attack for attack in NOISY if mean("none") - mean(attack) <= ENOUGH]
    columns = ["copy", "published form", "wm1 and wm2 exact", "strong form", "verified"]
    tables = [table("Obfuscated and noisy copies, LeNet-5 on MNIST", columns, lines)]
    extra = {"seeds": list(range(seeds)), "attacks": list(STRUCTURAL), "tables": tables}
    noise = {"seeds": list(range(seeds)), "attacks": bearable, "accuracies": {name: mean(name) for name in NOISY}}
    same = [found.success for attack in STRUCTURAL for found in findings["strong", attack]]
    blurred = [found.success for attack in bearable for found in findings["strong", attack]]
    what = "registered marks in copies permuted, rescaled, joined by dummy units, and all of it: share verified"
    told = "registered marks under noise on every weight, up to where accuracy has fallen by 5 points: share verified"
    return [share_row("obfuscated", what, same, extra), share_row("noisy", told, blurred, noise)]
