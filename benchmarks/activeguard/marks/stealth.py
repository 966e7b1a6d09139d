"""Whether the weights of a layer tell that it bears a mark: a detector trained on networks of other seeds.

LeNet-5 on the bundled digits, cheap enough for hundreds of networks. Every seed's plain network is trained on, without
a mark and with each; the detector is handed quantiles of the layer's weights, of their maximum and of their mean over
the output components, and how often a value is found twice, and is tested on seeds that it was not trained on.
"""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.counting import table
from benchmarks.activeguard.marks.kept import Made, Shelf
from benchmarks.activeguard.marks.networks import LAYER, digest, nonce, unmarked
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import Floats, auc, auc_interval
from models import data
from models.evaluation.mark_parameters import mark_parameters
from models.training import TrainingConfig, presets, train
from models.watermarks import activeguard, registered, uchida

ROWS = ("stealth",)
DATA = "digits"
BITS = 64  # of Uchida's mark: as many bits as the shortest registered mark has digits
QUANTILES = np.linspace(0.0, 1.0, 41)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Seeds, and epochs before and with the mark."""

    seeds: int
    plain: int
    tuning: int


SIZES = {"smoke": Sizes(6, 1, 2), "cpu": Sizes(30, 8, 12), "gpu": Sizes(60, 20, 30)}
Embed = Callable[[nn.Module, TrainingConfig, int], bool]  # whether the mark is there afterwards


def _nothing(network: nn.Module, config: TrainingConfig, seed: int) -> bool:
    train(network, data.load(DATA), config, keep="last")
    return False


def _published(digits: tuple[int, ...]) -> Embed:
    def embed(network: nn.Module, config: TrainingConfig, seed: int) -> bool:
        key = activeguard.keygen(network, LAYER, digits, generator=torch.Generator().manual_seed(seed))
        activeguard.embed(network, data.load(DATA), key, config)
        return activeguard.verify(network, key).success

    return embed


def _uchida(network: nn.Module, config: TrainingConfig, seed: int) -> bool:
    key = uchida.keygen(network, LAYER, BITS, generator=torch.Generator().manual_seed(seed))
    train(network, data.load(DATA), config, regularizer=uchida.UchidaRegularizer(key), keep="last")
    return uchida.verify(network, key).bit_error_rate == 0


def _strong(network: nn.Module, config: TrainingConfig, seed: int) -> bool:
    secret = hashlib.sha256(f"stealth {seed}".encode()).digest()
    parameters = mark_parameters(
        network, model="digits/1", architecture="lenet5", config={}, layer=LAYER, nonce=nonce(str(seed))
    )
    marks = registered.derive_marks(secret, parameters)
    pull = config.epochs // 3
    settings = registered.EmbeddingSettings(config, pull, config.epochs - pull)
    registered.embed(network, data.load(DATA), parameters, marks, settings)
    return all(torch.equal(registered.extract(network, parameters, mark), mark.digits) for mark in marks)


KINDS: dict[str, Embed] = {
    "unmarked": _nothing,
    "wm1": _published(activeguard.WM1),
    "wm2": _published(activeguard.WM2),
    "uchida": _uchida,
    "strong": _strong,
}


def stealth(budget: Budget, steps: Steps) -> list[Row]:
    """The networks of all kinds and seeds, and what the detector makes of each kind."""
    shelf, sizes = Shelf.of(budget), SIZES[budget.name]
    seen: dict[str, list[Floats]] = {kind: [] for kind in KINDS}
    there: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for seed in steps.over(range(3_000, 3_000 + sizes.seeds), "stealth, by seed"):
        source = unmarked(budget, shelf, DATA, replace(presets(DATA), epochs=sizes.plain, seed=seed))
        for kind in KINDS:
            network, found = _marked(shelf, source, kind, seed, sizes.tuning)
            seen[kind].append(features(network.get_parameter(LAYER).detach()))
            there[kind].append(found)
    results = {kind: _told(seen["unmarked"], seen[kind]) for kind in KINDS if kind != "unmarked"}
    return [_row(results, there, shelf, sizes)]


def _marked(shelf: Shelf, source: nn.Module, kind: str, seed: int, epochs: int) -> tuple[nn.Module, bool]:
    config = TrainingConfig(epochs, batch_size=50, learning_rate=2e-3, weight_decay=0.0, seed=seed + 1, fresh=False)

    def make() -> Made:
        network = copy.deepcopy(source)
        return network, {"there": KINDS[kind](network, config, seed)}

    network, notes = shelf.get(f"stealth-{kind}-{seed}", ("stealth", kind, digest(source), config, BITS), make)
    return network, bool(notes["there"])


def features(weight: torch.Tensor) -> Floats:
    """Kernels (O, I, F, F) -> what a detector looks at."""
    parts = [weight.flatten(), weight.flatten().abs(), weight.amax(dim=0).flatten(), weight.mean(dim=0).flatten()]
    found = []
    for part in parts:
        values = part.double().numpy()
        found += [np.log(values.std()), *np.quantile(values / values.std(), QUANTILES)]
    once = len(np.unique(weight.numpy().round(7))) / weight.numel()
    return np.array([*found, once])


def _told(negatives: list[Floats], positives: list[Floats]) -> tuple[float, float, float]:
    """AUC and its interval over seeds, each scored by a detector that saw neither of its networks."""
    seeds = len(negatives)
    images = np.stack([*negatives, *positives])
    labels = np.repeat([0, 1], seeds)
    groups = np.tile(np.arange(seeds), 2)
    detector = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2_000))
    folds = GroupKFold(min(10, seeds))
    scores = cross_val_predict(detector, images, labels, groups=groups, cv=folds, method="decision_function")
    each = [scores[:seeds, None], scores[seeds:, None]]
    return (auc(scores[:seeds], scores[seeds:]), *auc_interval(list(each[0]), list(each[1]), np.random.default_rng(3)))


def _row(
    results: dict[str, tuple[float, float, float]], there: dict[str, list[bool]], shelf: Shelf, sizes: Sizes
) -> Row:
    value, low, high = results["strong"]
    lines = [
        (kind, f"{found[0]:.3f} ({found[1]:.3f} to {found[2]:.3f})", f"{sum(there[kind])} of {sizes.seeds}")
        for kind, found in results.items()
    ]
    columns = ["mark", "AUC of the detector", "mark there, no digit or bit wrong"]
    extra = {
        "networks": "LeNet-5 on the bundled digits",
        "seeds": sizes.seeds,
        "auc": {kind: dict(zip(("value", "low", "high"), found, strict=True)) for kind, found in results.items()},
        "training_core_minutes": shelf.minutes,
        "tables": [table("Stealth: marked against unmarked networks, by the layer's weights", columns, lines)],
    }
    what = "a detector on weight statistics against registered marks: AUC, to be below that against Uchida's mark"
    wanted = bar("<=", results["uchida"][1], "high")
    return Row("stealth", what, wanted, value, 2 * sizes.seeds, low, high, "bootstrap over seeds, 95 %", extra)
