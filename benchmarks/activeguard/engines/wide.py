"""Figure 2's CIFAR-10 half: WRN-10-4, marked and protected, for licensees and strangers, beside a plain copy.

Licensees show a fingerprint that was issued for the marked copy, as an 8-bit image, to network and control layer in one
graph; strangers show nothing that passes. These are told the graph's answer, or a decoy from the gateway's bank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.engines import wide_networks
from benchmarks.activeguard.engines.wide_networks import SCHEDULES, SECRET, Owner
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import paired, wilson
from models import data
from models.checkpoints import encode_weights
from models.data import Dataset, Split
from models.decoys import DecoyBank
from models.evaluation import ownership
from models.fingerprints.activeguard import Allotment, ControlLayer, ProtectedNetwork, generate
from models.predictor import Predictor, predict
from models.watermarks import activeguard as published
from models.watermarks.registered import commit, derive_marks
from service.settings import Settings

ROWS = ("wide_authorized", "wide_stranger")
IMAGES = {"smoke": 200, "cpu": 10_000, "gpu": 10_000}
CALIBRATION = {"smoke": 100, "cpu": 1_000, "gpu": 5_000}
SECRETS = {"smoke": 2, "cpu": 20, "gpu": 20}
PAPER = {"authorized": 91.46, "stranger": 10.0}
SLICE = 250  # images with one fingerprint
ALLOTMENT = Allotment(10, (0.2, 0.3, 0.4), 0.01)  # section 3.1
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Told:
    """Labels (N,) that a plain copy gives and a licensee gets; strangers' by secret (S, N), from graph and bank."""

    plain: Labels
    licensee: Labels
    graph: Labels
    bank: Labels


@dataclass(frozen=True)
class Verdicts:
    """wm1 exact in the marked copy and in the plain one; the registered marks' adjusted p, the largest and plain's."""

    published: bool
    published_plain: bool
    log10_p: float
    log10_p_plain: float


def wide(budget: Budget, steps: Steps) -> list[Row]:
    """Both rows; the table is with the first."""
    dataset = data.load("cifar10", Settings().data_dir)
    plain, _ = wide_networks.copy(budget, dataset, steps, marked=False)
    marked, owner = wide_networks.copy(budget, dataset, steps, marked=True)
    plain, marked = plain.cpu(), marked.cpu()  # fingerprints are made and shown on one engine
    test = dataset.test.take(np.arange(IMAGES[budget.name]))
    told = _told(budget, dataset, test, plain, marked, steps)
    return [_authorized(budget, told, test, owner, verdicts(plain, marked, owner)), _stranger(told, test)]


def verdicts(plain: nn.Module, marked: nn.Module, owner: Owner) -> Verdicts:
    """Read both marks from both copies; the registered ones as they would be in a dispute."""
    reference, marks = encode_weights(marked), derive_marks(SECRET, owner.terms)
    commitment = commit(owner.terms, marks, reference)
    found = [
        [ownership.verify(encode_weights(network), commitment, mark.index, mark.key, reference) for mark in marks]
        for network in (marked, plain)
    ]
    theirs, others = ([one.reading.log10_adjusted_p for one in some] for some in found)
    exact = [published.verify(network, owner.key).success for network in (marked, plain)]
    return Verdicts(*exact, max(theirs), min(others))


def _told(budget: Budget, dataset: Dataset, test: Split, plain: nn.Module, marked: nn.Module, steps: Steps) -> Told:
    spec = dataset.input_spec
    predictor = Predictor(marked, spec, dataset.output_spec)
    control = ControlLayer(ALLOTMENT.confidences, ALLOTMENT.epsilon)
    calibration = spec.from_grid(torch.from_numpy(dataset.calibration.images[: CALIBRATION[budget.name]]))
    fingerprint = _fingerprint(predictor, calibration)
    grey = torch.full_like(fingerprint, 0.5)
    images = spec.from_grid(torch.from_numpy(test.images))
    protected = ProtectedNetwork(predictor, control, key=bytes(16))
    licensee = _labels(protected, fingerprint, images, steps)
    with torch.inference_mode():
        assert not protected.authorized(grey), "the stranger's grey image passes"
        assert torch.equal(protected(grey, images[:SLICE]), protected.decoys(images[:SLICE]))
        networks = [ProtectedNetwork(predictor, control, key=_secret(n)) for n in range(SECRETS[budget.name])]
        graph = np.stack([_decoys(one, images) for one in steps.over(networks, "strangers")])
    bank = DecoyBank(predict(predictor, calibration))
    drawn = [bank.draw(_secret(n), b"wide", test.images).argmax(dim=1).numpy() for n in range(SECRETS[budget.name])]
    beside = predict(Predictor(plain, spec, dataset.output_spec), images).argmax(dim=1).numpy()
    return Told(beside, licensee, graph, np.stack(drawn))


def _fingerprint(predictor: Predictor, calibration: Tensor) -> Tensor:
    """A licensee's (1, C, H, W), 8-bit, the first of the allotment's outputs."""
    made = generate(predictor, calibration[:1], [ALLOTMENT.output(0)], entropy=[bytes(16)])
    return predictor.input_spec.from_grid(made.grid)


def _labels(protected: ProtectedNetwork, fingerprint: Tensor, images: Tensor, steps: Steps) -> Labels:
    with torch.inference_mode():
        slices = steps.over(torch.split(images, SLICE), "licensee")
        return np.concatenate([protected(fingerprint, part).argmax(dim=1).numpy() for part in slices])


def _decoys(protected: ProtectedNetwork, images: Tensor) -> Labels:
    return np.concatenate([protected.decoys(part).argmax(dim=1).numpy() for part in torch.split(images, SLICE)])


def _secret(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _authorized(budget: Budget, told: Told, test: Split, owner: Owner, found: Verdicts) -> Row:
    plain, licensee = told.plain == test.labels, told.licensee == test.labels
    return Row(
        "wide_authorized",
        "WRN-10-4 on JPEG-compressed CIFAR-10, marked and protected, for licensees, less a plain copy that shares all "
        "training with it but the fine-tuning: points of accuracy",
        bar("within", [-0.5, 0.5], "interval"),
        *paired(licensee, plain)[:1],
        len(test),
        *paired(licensee, plain)[1:],
        "paired over the test images, 95 %",
        {
            "accuracy": {"plain": float(plain.mean()), "authorized": float(licensee.mean())},
            "told_the_same": float((told.plain == told.licensee).mean()),
            "networks_trained": 1,
            "schedule": _schedule(budget),
            "training_core_minutes": wide_networks.training_core_minutes(budget, owner),
            "wm1_exact": found.published,
            "registered_log10_adjusted_p": found.log10_p,
            "tables": [_table(told, test, found, _schedule(budget))],
        },
    )


def _stranger(told: Told, test: Split) -> Row:
    answers = np.concatenate([told.graph, told.bank])
    right = int((answers == test.labels).sum())
    low, high = wilson(right, answers.size)
    return Row(
        "wide_stranger",
        "the same for strangers, told by the protected graph and by the gateway's decoys: % right",
        bar("within", [9, 11], "interval"),
        100 * right / answers.size,
        answers.size,
        100 * low,
        100 * high,
        "Wilson, 95 %",
        {
            "images": len(test),
            "secrets": len(told.graph),
            "by_way": {name: float((getattr(told, name) == test.labels).mean()) for name in ("graph", "bank")},
        },
    )


def _schedule(budget: Budget) -> str:
    schedule = SCHEDULES[budget.name]
    stages = [*schedule.common, schedule.fine_tuning]
    sides = {1: "", 2: " of half the side"}
    return ", then ".join(f"{one.epochs} x {one.images:,} images{sides[one.shrunk]}" for one in stages)


def _table(told: Told, test: Split, found: Verdicts, schedule: str) -> dict[str, object]:
    def percent(labels: Labels) -> str:
        return f"{100 * float((labels == test.labels).mean()):.2f}"

    success = {True: "success", False: "failure"}
    strangers = np.concatenate([told.graph, told.bank])
    rows = [
        ["training", "200 epochs", schedule],
        ["test accuracy, no mark, no control layer, %", "", percent(told.plain)],
        ["test accuracy, authorized, %", PAPER["authorized"], percent(told.licensee)],
        ["test accuracy, unauthorized, %", PAPER["stranger"], percent(strangers)],
        ["V_owner of wm1 in the marked network", "success", success[found.published]],
        ["V_owner of wm1 in the plain copy", "", success[found.published_plain]],
        ["registered marks in the marked network, adjusted p (worst)", "", f"10^{found.log10_p:.0f}"],
        ["registered marks in the plain copy, adjusted p (best)", "", f"10^{found.log10_p_plain:.0f}"],
    ]
    title = "Figure 2, CIFAR-10 with WRN-10-4: the paper's beside ours on a JPEG-compressed copy"
    return {"title": title, "columns": ["", "paper", "here"], "rows": rows}
