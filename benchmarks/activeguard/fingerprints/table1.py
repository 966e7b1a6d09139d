"""The paper's Table 1: how often a fingerprint made for (t, c) is taken for its user, over all attempts, at 8 bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.fingerprints.networks import (
    PAPER,
    Network,
    entropy,
    images,
    lenet5,
    resnet20,
    seeds,
    training_minutes,
)
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from models.fingerprints.activeguard import (
    Allotment,
    CarliniWagner,
    ControlLayer,
    GenerationSettings,
    Method,
    generate,
)
from models.predictor import Predictor, predict

MNIST, CIFAR10 = ("table1",), ("table1_cifar10",)
ALLOTMENT = Allotment(10, PAPER, epsilon=0.01)  # the paper's epsilon
PAPER_MNIST = {
    0.2: (99, 99, 99, 99, 96, 100, 99, 99, 100, 100),
    0.3: (98, 100, 100, 100, 97, 100, 98, 98, 100, 99),
    0.4: (99, 100, 100, 100, 97, 100, 98, 100, 100, 100),
}
PAPER_CIFAR10 = {
    0.2: (100, 100, 100, 100, 100, 100, 100, 99, 100, 100),
    0.3: (100, 100, 100, 100, 100, 100, 100, 100, 100, 100),
    0.4: (100, 99, 100, 100, 100, 100, 100, 99, 100, 100),
}
# equations (1) to (3), one start, rounded and nothing else; of all such budgets of `generators` the one with most yield
PUBLISHED = CarliniWagner(steps=1000, step_size=0.1, alpha=1000.0, near=1e-3)
ROUNDED = GenerationSettings(attempts=1, rounds=0)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Attempts an output and network."""

    mnist: int
    mnist_published: int
    cifar10: int
    cifar10_published: int
    cifar10_steps: int


SIZES = {
    "smoke": Sizes(2, 1, 1, 1, 10),
    "cpu": Sizes(100, 2, 20, 1, 150),
    "gpu": Sizes(100, 100, 100, 20, 1000),
}


def mnist(budget: Budget, steps: Steps) -> list[Row]:
    """LeNet-5, every seed's."""
    sizes, shelf = SIZES[budget.name], Shelf.of(budget, "fingerprints")
    networks = [lenet5(budget, seed) for seed in steps.over(seeds(budget), "LeNet-5")]
    ours, published = [], []
    for seed in steps.over(seeds(budget), "table 1"):
        network, settings = networks[seed], GenerationSettings(batch_size=128)
        ours.append(_kept(shelf, "mnist", network, sizes.mnist, seed, None, settings))
        published.append(_kept(shelf, "mnist-cw", network, sizes.mnist_published, seed, PUBLISHED, ROUNDED))
    extra = {
        "seeds": list(seeds(budget)),
        "training_core_minutes": training_minutes(networks),
        "resumed_core_minutes": shelf.minutes,
    }
    what = "Table 1, MNIST LeNet-5: fingerprints of 30 outputs taken for their user at 8 bits, all attempts counted"
    return [_row(MNIST[0], what, bar("==", 1.0), networks, (PAPER_MNIST, ours, published), extra)]


def cifar10(budget: Budget, steps: Steps) -> list[Row]:
    """ResNet-20, which has batch normalisation."""
    sizes, shelf = SIZES[budget.name], Shelf.of(budget, "fingerprints")
    network = resnet20(budget)
    ours, published = [], []
    for seed in steps.over(range(1 if budget.name == "smoke" else 4), "table 1, CIFAR-10"):
        each = max(1, sizes.cifar10 // 4)
        ours.append(_kept(shelf, "cifar10", network, each, seed, None, GenerationSettings()))
    quick = CarliniWagner(steps=sizes.cifar10_steps, step_size=0.1, alpha=1000.0, near=1e-3)
    published.append(_kept(shelf, "cifar10-cw", network, sizes.cifar10_published, 0, quick, ROUNDED))
    extra = {
        "data": "JPEG-compressed CIFAR-10",
        "training_core_minutes": network.training_core_minutes,
        "resumed_core_minutes": shelf.minutes,
    }
    what = "Table 1, ResNet-20 on JPEG-compressed CIFAR-10: fingerprints of 30 outputs taken for their user at 8 bits"
    tables = (PAPER_CIFAR10, ours, published)
    return [_row(CIFAR10[0], what, bar(">=", 0.99, "low"), [network], tables, extra)]


def taken(predictor: Predictor, grid: Tensor, users: Sequence[int]) -> Tensor:
    """Whether the paper's control layer takes grey levels (N, C, H, W) for these users, (N,) bool."""
    p = predict(predictor, predictor.input_spec.from_grid(grid)).softmax(dim=1)
    return ControlLayer(PAPER, ALLOTMENT.epsilon).authenticate(p).user == torch.tensor(users)


def attempts_of(network: Network, each: int, seed: int, method: Method | None, settings: GenerationSettings) -> Piece:
    """So many attempts at each output: how many are taken for their user, and at the first start, (30,) each."""
    users = [user for user in range(ALLOTMENT.capacity) for _ in range(each)]
    made = generate(
        network.predictor,
        images(network, len(users), seed),
        [ALLOTMENT.output(user) for user in users],
        method=method,
        entropy=entropy(seed, len(users)),
        settings=settings,
    )
    right = taken(network.predictor, made.grid, users)
    count = [one.reshape(-1, each).sum(dim=1).tolist() for one in (right, right & (made.attempts == 1))]
    return {"each": each, "taken": count[0], "first": count[1], "error": float(made.error[right].max())}


def _kept(
    shelf: Shelf,
    name: str,
    network: Network,
    each: int,
    seed: int,
    method: Method | None,
    settings: GenerationSettings,
) -> Piece:
    recipe = (name, each, seed, method, settings, network.schedule, network.test_accuracy)
    return shelf.piece(f"table1-{name}-{seed}", recipe, lambda: attempts_of(network, each, seed, method, settings))


def _row(
    id: str,
    what: str,
    wanted: Mapping[str, object],
    networks: Sequence[Network],
    found: tuple[Mapping[float, Sequence[int]], Sequence[Piece], Sequence[Piece]],
    extra: Mapping[str, object],
) -> Row:
    paper, ours, published = found
    each, each_published = (sum(piece["each"] for piece in pieces) for pieces in (ours, published))
    shown, right, first = each * ALLOTMENT.capacity, _total(ours, "taken"), _total(ours, "first")
    lines = [
        line
        for index, confidence in enumerate(PAPER)
        for line in (
            [confidence, "paper", *paper[confidence]],
            [confidence, "first start", *_rates(ours, "first", index)],
            [confidence, "with restarts", *_rates(ours, "taken", index)],
            [confidence, "C&W as published, rounded", *_rates(published, "taken", index)],
        )
    ]
    title = f"{what}, % by class; {each} attempts an output, C&W {each_published}"
    return Row(
        id,
        what,
        wanted,
        right / shown,
        shown,
        *exact(right, shown),
        "exact, 95 %",
        {
            "epsilon": ALLOTMENT.epsilon,
            "first_start": {"value": first / shown, "spread": exact(first, shown)},
            "published": {
                "value": _total(published, "taken") / (each_published * ALLOTMENT.capacity),
                "n": each_published * ALLOTMENT.capacity,
            },
            "largest_error": max(piece["error"] for piece in ours),
            "test_accuracy": [network.test_accuracy for network in networks],
            "schedule": networks[0].schedule,
            "tables": [{"title": title, "columns": ["c", "", *map(str, range(10))], "rows": lines}],
            **extra,
        },
    )


def _total(pieces: Sequence[Piece], which: str) -> int:
    return sum(sum(piece[which]) for piece in pieces)


def _rates(pieces: Sequence[Piece], which: str, confidence: int) -> list[str]:
    """In % by class, for the confidence of this index: user = class T + index."""
    each = sum(piece["each"] for piece in pieces)
    counts = [sum(piece[which][user] for piece in pieces) for user in range(confidence, 30, len(PAPER))]
    return [f"{100 * count / each:.4g}" for count in counts]
