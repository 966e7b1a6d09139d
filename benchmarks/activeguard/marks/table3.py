"""Table 3: marks after a thief has trained on, with images of his own and no wish but a good network."""

import copy
from dataclasses import replace
from statistics import mean

import torch
from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.counting import (
    exact_cell,
    percent,
    share_row,
    successes,
    undated_cell,
    verified_cell,
)
from benchmarks.activeguard.marks.networks import (
    MARKS,
    Finding,
    Marked,
    digest,
    images,
    published,
    schedule_of,
    strong,
    test_accuracy,
    thiefs_images,
)
from benchmarks.kept import Made, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, table
from models.attacks.fine_tuning import fine_tune
from models.attacks.obfuscation import permute

ROWS = ("fine_tuned", "fine_tuned_strong")
RATES = (0.1, 1.0, 10.0)  # times the training's own
EPOCHS = {"smoke": (2, 3), "cpu": (30, 50), "gpu": (30, 50)}  # the first is looked at on the way to the second
PAPER = {0: "99.15 %", 30: "99.53 %", 50: "99.53 %"}  # Table 3, LeNet-5; every verdict is success

PERMUTED = "strong, then permuted"

Cell = tuple[str, float, int]  # whose marks, rate, epochs


def table3(budget: Budget, steps: Steps) -> list[Row]:
    """Both networks of every seed, at every rate."""
    bases, shelf, dataset = Shelf.of(budget, "marks"), Shelf.of(budget, "marks"), images(budget)
    accuracies: dict[Cell, list[float]] = {}
    findings: dict[Cell, list[Finding]] = {}
    for seed in steps.over(range(schedule_of(budget).attacked), "table 3, by seed"):
        marked: dict[str, Marked] = {
            "published": published(budget, bases, seed, scratch=True),
            "strong": strong(budget, bases, seed),
        }
        for rate in steps.over(RATES, f"seed {seed}, by rate"):
            for name, one in marked.items():
                for epochs, suspect in _tuned(budget, shelf, one, f"{name}-{seed}", rate).items():
                    accuracies.setdefault((name, rate, epochs), []).append(test_accuracy(suspect, dataset))
                    for mark, found in one.findings(suspect).items():
                        whose = mark if name == "published" else name
                        findings.setdefault((whose, rate, epochs), []).append(found)
                    if name == "strong":
                        hidden = permute(suspect, generator=torch.Generator().manual_seed(seed))
                        findings.setdefault((PERMUTED, rate, epochs), []).extend(one.findings(hidden).values())
    return _rows(budget, accuracies, findings, shelf)


def _tuned(budget: Budget, shelf: Shelf, one: Marked, name: str, rate: float) -> dict[int, nn.Module]:
    """The stolen network by epochs."""
    half, whole = EPOCHS[budget.name]
    training = replace(schedule_of(budget).scratch, seed=77)
    base = ("fine-tuned", name, digest(one.network), training, schedule_of(budget).thief, whole, rate)

    def keep(epoch: int, network: nn.Module) -> None:
        if epoch == half:
            shelf.network(f"{name}-rate-{rate:g}-{half}", (*base, half), lambda: (copy.deepcopy(network), {}))

    def make() -> Made:
        dataset = thiefs_images(budget)
        stolen, report = fine_tune(one.network, dataset, training, epochs=whole, rate=rate, after_epoch=keep)
        return stolen, {"thiefs_validation": report.accuracies}

    def missing() -> Made:
        raise FileNotFoundError(f"{name} after {half} epochs: delete what is kept of it, to make both again")

    last = shelf.network(f"{name}-rate-{rate:g}-{whole}", base, make)[0]
    return {half: shelf.network(f"{name}-rate-{rate:g}-{half}", (*base, half), missing)[0], whole: last}


def _point(
    rate: float, epochs: int, accuracies: dict[Cell, list[float]], findings: dict[Cell, list[Finding]]
) -> dict[str, object]:
    """What the plot shows of one rate and length."""
    forms = ("published", "strong")
    return {
        "rate": rate,
        "epochs": epochs,
        "accuracy": {f"{name} form": mean(accuracies[name, rate, epochs]) for name in forms},
        "digits": {mark: mean(found.measure for found in findings[mark, rate, epochs]) for mark in MARKS},
        "log10_p": {
            whose: max(found.measure for found in findings[whose, rate, epochs]) for whose in ("strong", PERMUTED)
        },
    }


def _rows(
    budget: Budget,
    accuracies: dict[Cell, list[float]],
    findings: dict[Cell, list[Finding]],
    shelf: Shelf,
) -> list[Row]:
    lines, curve = [], []
    for rate in RATES:
        for epochs in EPOCHS[budget.name]:
            cells = [exact_cell(findings[mark, rate, epochs]) for mark in MARKS]
            ours, hidden = findings["strong", rate, epochs], findings[PERMUTED, rate, epochs]
            sure = verified_cell(ours), undated_cell(ours), verified_cell(hidden)
            reached = [percent(accuracies[name, rate, epochs]) for name in ("published", "strong")]
            curve.append(_point(rate, epochs, accuracies, findings))
            lines.append((f"{rate:g}", epochs, PAPER.get(epochs, ""), reached[0], *cells, reached[1], *sure))
    columns = [
        "rate",
        "epochs",
        "paper (success)",
        "published form",
        "wm1",
        "wm2",
        "strong form",
        "verified",
        "its age not known",
        "permuted besides",
    ]
    extra = {
        "resumed_core_minutes": shelf.minutes / len(ROWS),
        "seeds": list(range(schedule_of(budget).attacked)),
        "thief": f"{schedule_of(budget).thief} images that the owner did not train on",
        "rate": "times the learning rate of the training from scratch",
        "age": "the suspects are known to be younger than the registration; beside it, what is verified without that",
        "by_rate_and_epochs": {
            f"{whose}, {rate:g}, {epochs}": successes(found) for (whose, rate, epochs), found in findings.items()
        },
    }
    whole = extra | {
        "curve": curve,
        "tables": [table("Table 3, LeNet-5 on MNIST, fine-tuned by a thief", columns, lines)],
    }
    attacks = "fine-tuned for 30 and 50 epochs at 0.1, 1 and 10 times the training's rate"
    weak = [found.success for (whose, *_), each in findings.items() if whose in MARKS for found in each]
    strong_ones = [found.success for (whose, *_), each in findings.items() if whose == "strong" for found in each]
    return [
        share_row("fine_tuned", f"wm1 and wm2 as published, {attacks}: share with every digit exact", weak, whole),
        share_row("fine_tuned_strong", f"registered marks, {attacks}: share verified", strong_ones, extra),
    ]
