"""Networks that nobody marked, of many kinds: what an accusation must not stick to."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.networks import plain, schedule_of, unmarked
from benchmarks.kept import Shelf
from models.evaluation.rank_correlation import rank_excess
from models.training import presets
from models.watermarks.digit_map import DigitMap


@dataclass(frozen=True, slots=True)
class Others:
    """Networks beside the plain ones: how many, and the epochs of each."""

    mnist: int
    mnist_epochs: int
    digits: int
    digits_epochs: int


OTHERS = {"smoke": Others(0, 0, 3, 1), "cpu": Others(0, 0, 15, 8), "gpu": Others(5, 20, 10, 60)}
FIRST = 500  # their seeds


def innocents(budget: Budget, shelf: Shelf) -> dict[str, nn.Module]:
    """The plain network of every seed, others on MNIST and on the bundled digits, from seeds of their own."""
    others = OTHERS[budget.name]
    found = {f"plain {seed}": plain(budget, shelf, seed) for seed in range(schedule_of(budget).seeds)}
    wanted = (("mnist", others.mnist, others.mnist_epochs), ("digits", others.digits, others.digits_epochs))
    for name, count, epochs in wanted:
        for seed in range(FIRST, FIRST + count):
            config = replace(presets(name), epochs=epochs, seed=seed)
            found[f"{name} {seed}"] = unmarked(budget, shelf, name, config)
    return found


def digits_of(network: nn.Module, layer: str, digit_map: DigitMap) -> NDArray[np.int8]:
    """The layer's digits as they stand (size,), -1 where there is none."""
    return digit_map.digits(network.get_parameter(layer).flatten()).numpy().astype(np.int8)


def ranks_of(network: nn.Module, layer: str) -> NDArray[np.int64]:
    """The layer's ranks as they stand (size,)."""
    return np.asarray(rank_excess(network.get_parameter(layer)).numpy())
