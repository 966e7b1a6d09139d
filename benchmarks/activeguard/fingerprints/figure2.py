"""The paper's Figure 2: test accuracy of authorized and of unauthorized usage, through network and control layer."""

import json
from functools import partial

import numpy as np
import torch

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.networks import Network, cifar10, entropy, lenet5, mnist, resnet20, seeds
from benchmarks.activeguard.fingerprints.table1 import ALLOTMENT
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import wilson
from models.data import Split
from models.fingerprints.activeguard import ControlLayer, ProtectedNetwork, generate
from models.predictor import predict

FIGURE2 = ("figure2_authorized", "figure2_stranger")
BARS = "figure2.json"  # behind the plot
PAPER = {"MNIST, LeNet-5": (99.15, 8.92), "CIFAR-10, WRN": (91.46, 10.0)}
OURS = ("MNIST, LeNet-5", "JPEG-compressed CIFAR-10, ResNet-20")
IMAGES = {"smoke": (500, 100), "cpu": (10_000, 2_000), "gpu": (10_000, 10_000)}  # of MNIST, of CIFAR-10


def figure2(budget: Budget, steps: Steps) -> list[Row]:
    """Test images with an issued fingerprint, and with an ordinary image in its place."""
    shelf, (count, photographed) = Shelf.of(budget, "fingerprints"), IMAGES[budget.name]
    digits = [
        shelf.piece(f"figure2-mnist-{seed}", (seed, count), partial(_mnist, budget, seed, count))
        for seed in steps.over(seeds(budget), "figure 2, MNIST")
    ]
    photographs = shelf.piece("figure2-cifar10", photographed, partial(_cifar10, budget, photographed))
    every = [*digits, photographs]
    differences = [100 * (one["authorized"] - one["plain"]) / one["shown"] for one in every]
    shown, right = (sum(piece[what] for piece in digits) for what in ("shown", "stranger"))
    ours = dict(zip(OURS, (_percent(digits), _percent([photographs])), strict=True))
    (budget.data() / BARS).write_text(json.dumps({"paper": PAPER, "here": ours}))
    lines = [["paper", name, "", *(f"{value:.2f}" for value in values)] for name, values in PAPER.items()]
    lines += [["here", name, *(f"{value:.2f}" for value in values)] for name, values in ours.items()]
    columns = ["", "data and network", "plain network", "authorized", "unauthorized"]
    table = {"title": "Figure 2: test accuracy, %", "columns": columns, "rows": lines}
    extra = {"seeds": list(seeds(budget)), "resumed_core_minutes": shelf.minutes / 2}
    return [
        Row(
            FIGURE2[0],
            "Figure 2: test accuracy with an issued fingerprint less the plain network's, in points, worst network",
            bar("within", [-0.5, 0.5], "interval"),
            max(differences, key=abs),
            sum(one["shown"] for one in every),
            min(differences),
            max(differences),
            "least and largest network",
            extra | {"tables": [table]},
        ),
        Row(
            FIGURE2[1],
            "Figure 2: test accuracy without a fingerprint, MNIST LeNet-5",
            bar("within", [0.09, 0.11], "interval"),
            right / shown,
            shown,
            *wilson(right, shown),
            "Wilson, 95 %",
            extra | {"paper": 0.0892},
        ),
    ]


def _percent(pieces: list[Piece]) -> list[float]:
    shown = sum(piece["shown"] for piece in pieces)
    return [100 * sum(piece[what] for piece in pieces) / shown for what in ("plain", "authorized", "stranger")]


def _mnist(budget: Budget, seed: int, count: int) -> Piece:
    return _asked(lenet5(budget, seed), mnist().test.take(np.arange(count)), seed)


def _cifar10(budget: Budget, count: int) -> Piece:
    return _asked(resnet20(budget), cifar10().test.take(np.arange(count)), 0)


def _asked(network: Network, split: Split, seed: int) -> Piece:
    """How many answers are right: the plain network's, the licensee's and the stranger's."""
    predictor = network.predictor
    protected = ProtectedNetwork(predictor, ControlLayer(ALLOTMENT.confidences, ALLOTMENT.epsilon), key=bytes([seed]))
    made = generate(predictor, network.starts[:1], [ALLOTMENT.output(seed)], entropy=entropy(seed, 1))
    fingerprint, ordinary = predictor.input_spec.from_grid(made.grid), network.starts[:1]
    images, labels = predictor.input_spec.from_grid(torch.from_numpy(split.images)), torch.from_numpy(split.labels)

    def right(shown: torch.Tensor) -> int:
        with torch.inference_mode():
            answers = [protected(shown, batch).argmax(dim=1) for batch in torch.split(images, 200)]
        return int((torch.cat(answers) == labels).sum())

    plain = int((predict(predictor, images).argmax(dim=1) == labels).sum())
    return {"shown": len(split), "plain": plain, "authorized": right(fingerprint), "stranger": right(ordinary)}
