"""Stealth: whether somebody who knows every scheme but no key can tell marked networks from unmarked ones.

The detector of Wang and Kerschbaum (arXiv:1808.10307) looks at the standard deviation of a layer's weights, which
Uchida's mark widens. A stronger one beside it: a random forest over the spread, skewness, kurtosis and standardised
quantiles of every layer, and of both carriers, the paper's (the maximum over the outputs) and Uchida's (the mean),
trained on networks of other seeds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.counting import of
from benchmarks.activeguard.marks.networks import LAYER, nonce
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, table
from benchmarks.statistics import auc
from models import data
from models.data import Dataset
from models.evaluation.mark_parameters import SHARE, USUAL, mark_parameters
from models.networks import build
from models.training import Regularizer, TrainingConfig, presets, train
from models.watermarks import activeguard, registered, uchida
from models.watermarks.activeguard.carrier import carrier
from service.settings import Settings

Floats = NDArray[np.float64]
Looked = tuple[Floats, bool]  # features of a network, and whether its mark is there
Pair = tuple[Floats, Floats]  # of unmarked and marked networks

ROWS = ("stealth_deviation", "stealth_forest")
BITS = 64  # Uchida's message, in the 150 weights of the mean kernel
PULL = 1  # epochs with the regularizer, of registered marks
QUANTILES = np.linspace(0.01, 0.99, 33)
FIRST = 5_000  # the networks' seeds
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """Networks of each kind, of which half train the detector; epochs from scratch, and to hold registered marks."""

    networks: int
    scratch: int
    hold: int


SIZES = {"smoke": Sizes(8, 1, 1), "cpu": Sizes(40, 30, 3), "gpu": Sizes(400, 60, 6)}


def _marked(
    dataset: Dataset, config: TrainingConfig, term: Regularizer | None, shown: Callable[[nn.Module], bool]
) -> Looked:
    network = build("lenet5", {})
    train(network, dataset, config, regularizer=term, keep="last")
    return features(network), shown(network)


def _unmarked(dataset: Dataset, config: TrainingConfig, _: Sizes) -> Looked:
    return _marked(dataset, config, None, lambda _: False)


def _published(dataset: Dataset, config: TrainingConfig, _: Sizes) -> Looked:
    key = activeguard.keygen(
        build("lenet5", {}), LAYER, activeguard.WM1, generator=_generator(config), digit_map=activeguard.LENET5_MAP
    )
    shown = partial(activeguard.verify, key=key)
    return _marked(dataset, config, activeguard.regularizer(key), lambda network: shown(network).success)


def _uchida(dataset: Dataset, config: TrainingConfig, _: Sizes) -> Looked:
    key = uchida.keygen(build("lenet5", {}), LAYER, BITS, generator=_generator(config))
    term = uchida.UchidaRegularizer(key)
    return _marked(dataset, config, term, lambda network: uchida.verify(network, key).bit_error_rate == 0)


def _trained_on(dataset: Dataset, config: TrainingConfig, sizes: Sizes) -> Looked:
    """Unmarked, in the two phases that writing registered marks takes."""
    network, further = build("lenet5", {}), _further(config)
    train(network, dataset, config)
    train(network, dataset, replace(further, epochs=PULL), keep="last")
    train(network, dataset, replace(further, epochs=sizes.hold, seed=further.seed + 1))
    return features(network), False


def _registered(dataset: Dataset, config: TrainingConfig, sizes: Sizes) -> Looked:
    network, name = build("lenet5", {}), f"stealth {config.seed}"
    train(network, dataset, config)
    parameters = mark_parameters(network, model=name, architecture="lenet5", config={}, nonce=nonce(name))
    marks = registered.derive_marks(bytes.fromhex(2 * nonce(name)), parameters)
    settings = registered.EmbeddingSettings(_further(config), pull_epochs=PULL, hold_epochs=sizes.hold)
    registered.embed(network, dataset, parameters, marks, settings)
    shown = all(bool((registered.extract(network, parameters, mark) == mark.digits).all()) for mark in marks)
    return features(network), shown


def _further(config: TrainingConfig) -> TrainingConfig:
    seed = config.seed + 100_000
    return replace(config, learning_rate=2e-3, warm_up=0.1, weight_decay=0.0, fresh=False, seed=seed)


def _generator(config: TrainingConfig) -> torch.Generator:
    return torch.Generator().manual_seed(config.seed + 200_000)  # not that of the initial weights


KINDS: dict[str, Callable[[Dataset, TrainingConfig, Sizes], Looked]] = {
    "unmarked": _unmarked,
    "Uchida's": _uchida,
    "published form": _published,
    "unmarked, trained on": _trained_on,
    "registered marks": _registered,
}
AGAINST = {
    "Uchida's": "unmarked",
    "published form": "unmarked",
    "registered marks": "unmarked, trained on",
}


def stealth(budget: Budget, steps: Steps) -> list[Row]:
    """Every kind of mark against unmarked networks of the same seeds and as many epochs."""
    shelf, sizes = Shelf.of(budget, "stealth"), SIZES[budget.name]
    dataset = data.load("digits", Settings().data_dir)
    looked: dict[str, list[Piece]] = {name: [] for name in KINDS}
    for seed in steps.over(range(FIRST, FIRST + sizes.networks), "stealth, by seed"):
        config = replace(presets("digits"), epochs=sizes.scratch, seed=seed)
        for name, make in KINDS.items():
            recipe = (name, config, sizes, PULL, BITS, SHARE, USUAL, QUANTILES.tolist())
            measure = partial(_piece, make, dataset, config, sizes)
            looked[name].append(shelf.piece(f"{name.replace(' ', '-')}-{seed}", recipe, measure))
    seen = {name: np.array([piece["features"] for piece in pieces]) for name, pieces in looked.items()}
    there = {name: [bool(piece["there"]) for piece in looked[name]] for name in AGAINST}
    return _rows({name: detected(seen[other], seen[name]) for name, other in AGAINST.items()}, there, sizes, shelf)


def _piece(
    make: Callable[[Dataset, TrainingConfig, Sizes], Looked], dataset: Dataset, config: TrainingConfig, sizes: Sizes
) -> Piece:
    found, there = make(dataset, config, sizes)
    return {"features": found.tolist(), "there": there}


def features(network: nn.Module) -> Floats:
    """Of each weight tensor, and of the carrier of the paper's layer: what a histogram of it shows."""
    tensors = [parameter.detach() for parameter in network.parameters() if parameter.ndim > 1]
    tensors += [carrier(network.get_parameter(LAYER).detach()), uchida.flat_weights(network, LAYER).detach()]
    found = []
    for tensor in tensors:
        values = tensor.flatten().double().numpy()
        shape = (values - values.mean()) / values.std()
        found += [values.mean(), values.std(), stats.skew(values), stats.kurtosis(values)]
        found += np.quantile(shape, QUANTILES).tolist()
    return np.array(found)


@dataclass(frozen=True, slots=True)
class Detected:
    """Scores of the networks left for the test, unmarked and marked, by detector; a larger one is more suspicious."""

    by_spread: Pair
    by_forest: Pair


def detected(unmarked: Floats, marked: Floats) -> Detected:
    """Features (N, D) of each; the first half trains, the second is told apart."""
    half, spread = len(unmarked) // 2, 1 + (len(QUANTILES) + 4)  # the second tensor's deviation: conv2's
    forest = RandomForestClassifier(500, min_samples_leaf=2, random_state=0)
    forest.fit(np.concatenate([unmarked[:half], marked[:half]]), np.repeat([0, 1], half))
    scores = [forest.predict_proba(some[half:])[:, 1] for some in (unmarked, marked)]
    return Detected((unmarked[half:, spread], marked[half:, spread]), (scores[0], scores[1]))


def _rows(found: dict[str, Detected], there: dict[str, list[bool]], sizes: Sizes, shelf: Shelf) -> list[Row]:
    lines = []
    for name, one in found.items():
        cells = ["{:.2f} ({:.2f} to {:.2f})".format(*_auc(pair)) for pair in (one.by_spread, one.by_forest)]
        lines.append([name, of(there[name]), AGAINST[name], *cells])
    columns = ["marks", "are there", "told from", "by conv2's deviation", "by a forest on every layer"]
    title = "AUC of a detector that knows the scheme and no key, LeNet-5 on the bundled digits (0.5: cannot tell)"
    extra = {
        "networks_of_each_kind": sizes.networks,
        "detector_trained_on": sizes.networks // 2,
        "claim": "the paper: scattered digits are more stealthy than Uchida's bits",
        "resumed_core_minutes": shelf.minutes / len(ROWS),
    }
    theirs, ours = found["Uchida's"], found["published form"]
    deviation = _row(ROWS[0], "conv2's standard deviation", theirs.by_spread, ours.by_spread, extra)
    shown = extra | {"tables": [table(title, columns, lines)]}
    return [deviation, _row(ROWS[1], "a random forest on every layer", theirs.by_forest, ours.by_forest, shown)]


def _row(id: str, by: str, theirs: Pair, ours: Pair, extra: dict[str, object]) -> Row:
    """How much better a detector tells Uchida's marks than the published form."""
    low, high = np.percentile(_either_way(_drawn(theirs)) - _either_way(_drawn(ours)), [2.5, 97.5])
    what = f"stealth: AUC of {by} for Uchida's mark ({BITS} bits) less that for the published form (13 digits)"
    value = float(_either_way(auc(*theirs)) - _either_way(auc(*ours)))
    n = 2 * (len(ours[0]) + len(theirs[0]))
    return Row(id, what, bar(">=", 0.0, "low"), value, n, low, high, "bootstrap over networks, 95 %", extra)


def _either_way(areas: float | Floats) -> float | Floats:
    """Whoever orders the wrong way round has told apart as well."""
    return 0.5 + np.abs(np.asarray(areas) - 0.5)


def _auc(pair: Pair) -> tuple[float, float, float]:
    low, high = np.percentile(_drawn(pair), [2.5, 97.5])
    return auc(*pair), float(low), float(high)


def _drawn(pair: Pair) -> Floats:
    """AUCs of networks drawn again."""
    rng = np.random.default_rng(0)
    return np.array([auc(*(rng.choice(one, len(one)) for one in pair)) for _ in range(RESAMPLES)])
