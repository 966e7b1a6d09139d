"""LeNet-5 plain, marked as published, and marked in the strong form: the networks that the tables are about.

As published, both of the paper's watermarks are written into one network, each with its own term of Eq. (4) and at
positions of its own: two thirteenths of a hundred and fifty, and one training where there would be two.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.kept import Made, Shelf
from benchmarks.thread import budgets, trained
from models import data
from models.checkpoints import decode_weights, encode_weights
from models.data import Dataset
from models.evaluation.mark_parameters import mark_parameters
from models.evaluation.ownership import Verification, verify
from models.networks import build
from models.predictor import Predictor, predict
from models.training import TrainingConfig, presets, train
from models.watermarks import activeguard, registered
from service.settings import Settings

LAYER = "conv2.weight"  # the paper's
REGISTERED_LAYER = "fc1.weight"  # what `mark_parameters` chooses
MARKS = {"wm1": activeguard.WM1, "wm2": activeguard.WM2}


@dataclass(frozen=True, slots=True)
class Schedule:
    """How the networks come about; the thief's images are in no other split."""

    dataset: str
    seeds: int
    attacked: int  # seeds whose networks are attacked, and held against others
    scratch: TrainingConfig
    tuning: TrainingConfig  # further training, in which a mark is written into a trained network
    pull: int  # epochs of the strong form: with the regularizer, and around the digits
    hold: int
    thief: int  # images


def _schedule(dataset: str, seeds: int, attacked: int, epochs: int, tuning: int, thief: int) -> Schedule:
    scratch = replace(presets(dataset), epochs=epochs)
    further = replace(scratch, epochs=tuning, learning_rate=2e-3, warm_up=0.1, weight_decay=0.0, fresh=False)
    return Schedule(dataset, seeds, attacked, scratch, further, pull=1, hold=tuning - 1, thief=thief)


_MNIST = _schedule("mnist", seeds=5, attacked=5, epochs=presets("mnist").epochs, tuning=4, thief=3_000)
SCHEDULES = {
    "smoke": _schedule("digits", seeds=2, attacked=1, epochs=2, tuning=2, thief=200),
    "cpu": _MNIST,
    "gpu": _MNIST,
}


def schedule_of(budget: Budget) -> Schedule:
    """The budget's own."""
    return SCHEDULES[budget.name]


def images(budget: Budget) -> Dataset:
    """The owner's images; nobody but him has those he trains on."""
    return data.load(schedule_of(budget).dataset, Settings().data_dir)


def thiefs_images(budget: Budget) -> Dataset:
    """What a thief has to train and to choose on: images that the owner did not use. He has no test images."""
    whole, count = images(budget), schedule_of(budget).thief
    own = whole.calibration
    few = own.take(np.arange(count, min(len(own), count + 500)))
    return replace(whole, train=own.take(np.arange(count)), validation=few, test=few)


def plain(budget: Budget, shelf: Shelf, seed: int) -> nn.Module:
    """Unmarked, from scratch; MNIST's are those of the first thread."""
    schedule = schedule_of(budget)
    if schedule.dataset == "mnist":
        network = build("lenet5", {})
        decode_weights(network, trained.artefact(budgets.CPU, seed).weights)
        return network.eval()
    return unmarked(budget, shelf, schedule.dataset, replace(schedule.scratch, seed=seed))


def unmarked(budget: Budget, shelf: Shelf, dataset: str, config: TrainingConfig) -> nn.Module:
    """Any other unmarked network: the best epoch's weights, as the plain ones have."""

    def make() -> Made:
        network = build("lenet5", {})
        report = train(network, data.load(dataset, Settings().data_dir), config)
        return network, {"validation_accuracy": report.validation_accuracy}

    return shelf.network(f"unmarked-{dataset}-{config.seed}", (dataset, config), make)[0]


def trained_on(budget: Budget, shelf: Shelf, seed: int) -> nn.Module:
    """The plain network after the epochs in which the others are marked: what fine-tuning alone does to accuracy."""
    source, config = plain(budget, shelf, seed), _tuned(budget, seed)

    def make() -> Made:
        report = train(source, images(budget), config, keep="last")
        return source, {"validation_accuracy": report.validation_accuracy}

    return shelf.network(f"control-{seed}", ("control", digest(source), config), make)[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one mark says about a suspect, and how clearly: digits that are right, or log10 of the adjusted p."""

    success: bool
    measure: float


class Marked(Protocol):
    """A network and its owner's marks."""

    @property
    def network(self) -> nn.Module:
        """As the owner keeps it."""

    @property
    def layer(self) -> str:
        """Where the marks are."""

    def findings(self, suspect: nn.Module) -> dict[str, Finding]:
        """What each of the marks says about a suspect."""


@dataclass(frozen=True)
class Published:
    """A network and the keys of wm1 and wm2."""

    network: nn.Module
    keys: dict[str, activeguard.Key]
    layer: str = LAYER

    def findings(self, suspect: nn.Module) -> dict[str, Finding]:
        """V_owner by mark."""
        found = {name: activeguard.verify(suspect, key) for name, key in self.keys.items()}
        return {name: Finding(verdict.success, verdict.matches) for name, verdict in found.items()}


def published(budget: Budget, shelf: Shelf, seed: int, *, scratch: bool) -> Published:
    """Both watermarks of the paper, by training from scratch or by fine-tuning the plain network of that seed."""
    source = plain(budget, shelf, seed)
    generator = torch.Generator().manual_seed(seed)
    digits = [digit for mark in MARKS.values() for digit in mark]
    key = activeguard.keygen(source, LAYER, digits, generator=generator, digit_map=activeguard.LENET5_MAP)
    config = replace(schedule_of(budget).scratch, seed=seed) if scratch else _tuned(budget, seed)
    strength = activeguard.scheme.STRENGTH * len(MARKS)  # 1/n of Eq. (4) is each mark's own

    def make() -> Made:
        network = build("lenet5", {}) if scratch else source
        report = activeguard.embed(network, images(budget), key, config, strength=strength)
        return network, {"validation_accuracy": report.validation_accuracy}

    way = "scratch" if scratch else "tuned"
    recipe = ("published", digest(source), key, key.positions.tolist(), strength, config)
    network, _ = shelf.network(f"published-{way}-{seed}", recipe, make)
    return Published(network, _apart(key))


def _apart(key: activeguard.Key) -> dict[str, activeguard.Key]:
    """The key of all the digits as one key a mark."""
    keys, start = {}, 0
    for name, mark in MARKS.items():
        part = slice(start, start + len(mark))
        keys[name] = replace(key, positions=key.positions[part], digits=key.digits[part])
        start += len(mark)
    return keys


@dataclass(frozen=True)
class Owned:
    """A network with registered marks, and what its owner needs to prove it."""

    network: nn.Module
    commitment: registered.Commitment
    marks: tuple[registered.Mark, ...]
    layer: str = REGISTERED_LAYER

    @property
    def reference(self) -> bytes:
        """The weights file that was committed to."""
        return encode_weights(self.network)

    def verify(self, suspect: nn.Module) -> list[Verification]:
        """One for each mark, in a registry that holds this one commitment."""
        file, reference = encode_weights(suspect), self.reference
        return [verify(file, self.commitment, mark.index, mark.key, reference) for mark in self.marks]

    def findings(self, suspect: nn.Module) -> dict[str, Finding]:
        """Whether each mark is verified."""
        found = self.verify(suspect)
        return {f"mark {one.mark}": Finding(one.verified, one.reading.log10_adjusted_p) for one in found}


def strong(budget: Budget, shelf: Shelf, seed: int) -> Owned:
    """The plain network of that seed with registered marks."""
    source = plain(budget, shelf, seed)
    schedule = schedule_of(budget)
    settings = registered.EmbeddingSettings(_tuned(budget, seed), schedule.pull, schedule.hold)
    others = [plain(budget, shelf, other) for other in range(schedule.seeds) if other != seed]
    return own(shelf, f"strong-{seed}", source, images(budget), settings, owner=f"owner {seed}", unmarked=others)


def own(
    shelf: Shelf,
    name: str,
    source: nn.Module,
    dataset: Dataset,
    settings: registered.EmbeddingSettings,
    *,
    owner: str,
    unmarked: Sequence[nn.Module] = (),
    digits: int | None = None,
) -> Owned:
    """A copy of `source` with marks of this owner's, kept with its commitment; `digits` as in `mark_parameters`."""
    secret = hashlib.sha256(owner.encode()).digest()
    parameters = mark_parameters(
        source,
        model=owner,
        architecture="lenet5",
        config={},
        layer=REGISTERED_LAYER,
        digits=digits,
        unmarked=[network.get_parameter(REGISTERED_LAYER).detach() for network in unmarked],
        nonce=nonce(owner),
    )
    marks = registered.derive_marks(secret, parameters)

    def make() -> Made:
        network = copy.deepcopy(source)
        report = registered.embed(network, dataset, parameters, marks, settings)
        return network, {"report": repr(report)}

    recipe = owner, parameters.to_bytes(), digest(source), settings, len(dataset.train)
    network, _ = shelf.network(name, recipe, make)
    return Owned(network, registered.commit(parameters, marks, encode_weights(network)), marks)


def nonce(name: str) -> str:
    """In place of a random one: an experiment's is the same every time."""
    return hashlib.sha256(b"signet/experiment/" + name.encode()).hexdigest()[:32]


def test_accuracy(network: nn.Module, dataset: Dataset) -> float:
    """The share of test images that is right."""
    return float(right(network, dataset).mean())


def right(network: nn.Module, dataset: Dataset) -> NDArray[np.bool_]:
    """Which test images are right (N,)."""
    predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
    shown = dataset.input_spec.from_grid(torch.from_numpy(dataset.test.images))
    return np.asarray(predict(predictor, shown).argmax(dim=1).numpy() == dataset.test.labels)


def _tuned(budget: Budget, seed: int) -> TrainingConfig:
    return replace(schedule_of(budget).tuning, seed=1_000 + seed)


def digest(network: nn.Module) -> str:
    """Of the weights, for a recipe."""
    return hashlib.sha256(encode_weights(network)).hexdigest()
