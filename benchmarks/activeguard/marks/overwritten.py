"""Marks after a thief who knows the scheme has written his own into the stolen network."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.counting import exact_cell, percent, share_row, undated_cell, verified_cell
from benchmarks.activeguard.marks.networks import (
    LAYER,
    Finding,
    digest,
    images,
    own,
    published,
    schedule_of,
    strong,
    test_accuracy,
    thiefs_images,
)
from benchmarks.kept import Made, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, table
from models.attacks.overwriting import overwrite_with
from models.watermarks import activeguard, registered

ROWS = ("overwritten",)
ENOUGH = 0.05  # accuracy
HIS = (7, 3, 9, 1, 5, 0, 8, 2, 6, 4, 7, 1, 9)  # thirteen digits of a thief's


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard he tries: epochs of both phases on his images, times the owner's learning rate, lambda, times over.

    `digits` of each of his three marks, where he writes more than the owner did.
    """

    pull: int
    hold: int
    rate: float = 1.0
    strength: float = 1.0
    times: int = 1
    digits: int | None = None


EFFORTS = {
    "as the owner did": Effort(2, 4),
    "ten times the lambda": Effort(2, 4, strength=10.0),
    "three times the epochs": Effort(6, 12),
    "three times the rate": Effort(5, 10, rate=3.0),
    "three times over, other secrets": Effort(2, 4, times=3),
    "half of the layer": Effort(2, 4, digits=8_000),
}


def overwritten(budget: Budget, steps: Steps) -> list[Row]:
    """Every effort on every seed's network; the published form once, for comparison."""
    bases, shelf = Shelf.of(budget, "marks"), Shelf.of(budget, "marks")
    dataset, seeds = images(budget), schedule_of(budget).attacked
    accuracies: dict[str, list[float]] = {}
    first: dict[str, list[Finding]] = {}
    second: dict[str, list[Finding]] = {}
    thief = f"{schedule_of(budget).thief} images that the owner did not train on"
    for seed in steps.over(range(seeds), "overwritten, by seed"):
        one, before = strong(budget, bases, seed), published(budget, bases, seed, scratch=True)
        accuracies.setdefault("none", []).append(test_accuracy(one.network, dataset))
        for name, effort in _efforts(budget).items():
            suspect, his = _overwritten(budget, shelf, one.network, seed, effort)
            accuracies.setdefault(name, []).append(test_accuracy(suspect, dataset))
            first.setdefault(name, []).extend(one.findings(suspect).values())
            second.setdefault(name, []).extend(his)
        suspect = _published(budget, shelf, before.network, seed)
        accuracies.setdefault("published", []).append(test_accuracy(suspect, dataset))
        first.setdefault("published", []).extend(before.findings(suspect).values())
    return [_row(accuracies, first, second, {"thief": thief, "resumed_core_minutes": shelf.minutes})]


def _efforts(budget: Budget) -> dict[str, Effort]:
    return dict(list(EFFORTS.items())[: 1 if budget.name == "smoke" else None])


def _overwritten(
    budget: Budget, shelf: Shelf, stolen: nn.Module, seed: int, effort: Effort
) -> tuple[nn.Module, list[Finding]]:
    """The network with his marks in it, and whether they verify; the last of his if there are several rounds."""
    dataset = thiefs_images(budget)
    own_way = schedule_of(budget).tuning
    training = replace(own_way, seed=9_000 + seed, learning_rate=effort.rate * own_way.learning_rate)
    settings = registered.EmbeddingSettings(training, effort.pull, effort.hold, effort.strength)
    findings: list[Finding] = []
    for turn in range(effort.times):
        owner = f"thief {seed}.{turn}"
        his = own(shelf, f"overwritten-{seed}", stolen, dataset, settings, owner=owner, digits=effort.digits)
        stolen, findings = his.network, list(his.findings(his.network).values())
    return stolen, findings


def _published(budget: Budget, shelf: Shelf, stolen: nn.Module, seed: int) -> nn.Module:
    """The published form overwritten by itself, with as many epochs as the owner's fine-tuning took."""
    training = replace(schedule_of(budget).tuning, seed=9_000 + seed)
    generator = torch.Generator().manual_seed(9_000 + seed)
    key = activeguard.keygen(stolen, LAYER, HIS, generator=generator, digit_map=activeguard.LENET5_MAP)

    def make() -> Made:
        return overwrite_with(stolen, thiefs_images(budget), activeguard.regularizer(key), training)[0], {}

    recipe = ("overwritten", digest(stolen), HIS, key.positions.tolist(), training, schedule_of(budget).thief)
    return shelf.network(f"published-overwritten-{seed}", recipe, make)[0]


def _row(
    accuracies: dict[str, list[float]],
    first: dict[str, list[Finding]],
    second: dict[str, list[Finding]],
    more: dict[str, object],
) -> Row:
    seeds = len(accuracies["none"])
    efforts = {name: effort for name, effort in EFFORTS.items() if name in first}
    marks = len(first[next(iter(efforts))]) // seeds
    held, spoilt_by = [], []
    for name in efforts:
        for seed, (before, after) in enumerate(zip(accuracies["none"], accuracies[name], strict=True)):
            spoilt = before - after >= ENOUGH
            spoilt_by += [name] if spoilt else []
            held += [found.success or spoilt for found in first[name][seed * marks : (seed + 1) * marks]]
    lines = [("none", percent(accuracies["none"]), "", "", "")]
    for name in efforts:
        cells = verified_cell(first[name]), undated_cell(first[name]), verified_cell(second[name])
        lines.append((name, percent(accuracies[name]), *cells))
    weak = percent(accuracies["published"]), exact_cell(first["published"])
    lines.append(("published form by itself", *weak, "", ""))
    columns = ["his effort", "test accuracy", "the first: verified", "its age not known", "his own: verified"]
    extra = more | {
        "seeds": list(range(seeds)),
        "whose": "both may verify: his commitment is registered after the owner's, and the registry's order decides",
        "accuracy_down_5_points": spoilt_by,
        "efforts": {name: repr(effort) for name, effort in efforts.items()},
        "tables": [table("Overwritten by a thief who knows the scheme, LeNet-5 on MNIST", columns, lines)],
    }
    what = (
        "registered marks after a thief wrote three of his own: share that is verified, or accuracy down 5 points; "
        "his commitment is the later one, so the registry's order decides whose network it is"
    )
    return share_row("overwritten", what, held, extra)
