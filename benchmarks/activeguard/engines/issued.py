"""Networks with fingerprints and codewords issued for them: what is asked on every engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.engines.stages import SEED, Stage, core_minutes, recipe_name, run_stage
from benchmarks.progress import Steps
from benchmarks.thread import budgets as thread
from benchmarks.thread.trained import artefact, mnist
from models import data
from models.data import Dataset
from models.fingerprints.activeguard import (
    Allotment,
    Code,
    Codeword,
    ControlLayer,
    GenerationSettings,
    ProtectedNetwork,
    generate,
)
from models.fingerprints.activeguard.allotment import FingerprintOutput
from models.fingerprints.activeguard.codewords import stack
from models.networks.resnet import ResNet
from models.predictor import Predictor, predict
from service.inference.loaded import build
from service.settings import Settings

SECRET = bytes(range(32))  # an experiment's
COMPANY = 256  # images a batch is filled up to
SETTINGS = GenerationSettings(attempts=2)  # those that are not solved are left out: this is not about how many are


@dataclass(frozen=True)
class Sizes:
    """LeNet-5s by seed, how much is issued for each and for ResNet-20, and how that is trained; no stages, none."""

    seeds: int
    lenets: thread.Budget
    lenet: int
    resnet: int
    stages: tuple[Stage, ...]


SIZES = {
    "smoke": Sizes(1, thread.SMOKE, 8, 0, ()),
    "cpu": Sizes(3, thread.CPU, 128, 24, (Stage("half", 4, 14_000, 1e-2, shrunk=2), Stage("whole", 1, 10_496, 4e-3))),
    "gpu": Sizes(3, thread.CPU, 128, 24, (Stage("whole", 14, 42_000, 1e-2),)),
}


@dataclass(frozen=True)
class Issued:
    """A network, 8-bit images (N, C, H, W) that were issued for it, and company that fills the largest batch.

    The first `outputs` of them are for a (class, confidence) each, the others for `codewords`; all were solved.
    """

    name: str
    accuracy: float  # on test images
    predictor: Predictor
    images: Tensor
    outputs: Sequence[FingerprintOutput]
    codewords: Sequence[Codeword]
    company: Tensor

    def protected(self) -> tuple[ProtectedNetwork, Tensor]:
        """Network and control layer in one graph, and the fingerprint (1, C, H, W) that opens it."""
        assert self.outputs, "no fingerprint was solved"
        allotment = Allotment.from_band(10)
        control = ControlLayer(allotment.confidences, allotment.epsilon)
        return ProtectedNetwork(self.predictor, control, key=bytes(16)), self.images[:1]

    def errors(self, p: Tensor) -> Tensor:
        """How far answers (N, K) are from what was allotted: |p_t - c|, for a codeword max_k |p_k - q_k|: (N,)."""
        first = len(self.outputs)
        labels = torch.tensor([output.label for output in self.outputs])
        confidences = torch.tensor([output.confidence for output in self.outputs], dtype=torch.float64)
        wanted = stack(self.codewords).reshape(-1, p.shape[1])
        single = (p[:first].gather(1, labels[:, None])[:, 0] - confidences).abs()
        return torch.cat([single, (p[first:] - wanted).abs().amax(dim=1)])

    def shifts(self, p: Tensor, reference: Tensor) -> Tensor:
        """How far answers (N, K) are from those of another engine: of the fixed probabilities, the largest: (N,)."""
        first = len(self.outputs)
        labels = torch.tensor([output.label for output in self.outputs])
        moved = (p - reference).abs()
        return torch.cat([moved[:first].gather(1, labels[:, None])[:, 0], moved[first:].amax(dim=1)])


def networks(budget: Budget, steps: Steps) -> Iterator[Issued]:
    """LeNet-5 on MNIST, a seed at a time, then ResNet-20 on CIFAR-10."""
    sizes = SIZES[budget.name]
    digits = mnist()
    for seed in range(sizes.seeds):
        one = artefact(sizes.lenets, seed)
        accuracy = one.manifest.metrics["test_accuracy"]
        yield _issue(budget, f"LeNet-5, seed {seed}", build(one), accuracy, digits, sizes.lenet, one.digest)
    if not sizes.stages:
        return
    photos = data.load("cifar10", Settings().data_dir)
    network = resnet20(budget, photos, steps)
    predictor = Predictor(network, photos.input_spec, photos.output_spec)
    test = photos.test.take(np.arange(1_000))
    right = predict(predictor, photos.input_spec.from_grid(torch.from_numpy(test.images))).argmax(dim=1)
    accuracy = float((right.numpy() == test.labels).mean())
    recipe = resnet20_name(budget, len(sizes.stages)).encode()
    yield _issue(budget, "ResNet-20", predictor, accuracy, photos, sizes.resnet, recipe)


def resnet20(budget: Budget, dataset: Dataset, steps: Steps) -> ResNet:
    """Trained in a few minutes: enough for batch normalisation to have statistics that mean something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = ResNet()
    for number, stage in enumerate(SIZES[budget.name].stages):
        run_stage(network, budget, dataset, stage, resnet20_name(budget, number + 1), steps)
    return network


def resnet20_name(budget: Budget, stages: int) -> str:
    """Of the network after so many stages."""
    recipe = SIZES[budget.name].stages[:stages]
    return recipe_name(f"resnet20-{recipe[-1].name}", recipe, recipe[-1].config)


def training_core_minutes(budget: Budget) -> float:
    """ResNet-20's; LeNet-5's are told in `docs/results/thread.json`."""
    count = len(SIZES[budget.name].stages)
    return core_minutes(budget, *(resnet20_name(budget, number + 1) for number in range(count)))


def _issue(
    budget: Budget, name: str, predictor: Predictor, accuracy: float, dataset: Dataset, count: int, recipe: bytes
) -> Issued:
    """`count` outputs and as many codewords, made now or read."""
    spec = dataset.input_spec
    allotment, code = Allotment.from_band(10), Code.from_band(10)
    users = np.linspace(0, allotment.capacity - 1, count).astype(int)
    outputs = [allotment.output(int(user)) for user in users]
    slots = np.linspace(0, code.allotment.capacity - 1, count).astype(int)
    codewords = [code.codeword(SECRET, f"lic_{slot}", int(slot)) for slot in slots]
    pictures = spec.from_grid(torch.from_numpy(dataset.calibration.images[: 2 * count + COMPANY]))
    file = budget.data() / f"{recipe_name('issued', recipe, outputs, codewords, SETTINGS)}.npz"
    if not file.exists():
        entropy = [index.to_bytes(16, "big") for index in range(2 * count)]
        made = [
            generate(predictor, pictures[:count], outputs, entropy=entropy[:count], settings=SETTINGS),
            generate(predictor, pictures[count : 2 * count], codewords, entropy=entropy[count:], settings=SETTINGS),
        ]
        fresh = file.with_suffix(".new.npz")
        solved = torch.cat([one.solved for one in made])
        np.savez_compressed(fresh, grid=torch.cat([one.grid for one in made]).numpy(), solved=solved.numpy())
        fresh.rename(file)
    kept = np.load(file)
    solved = kept["solved"]
    images = spec.from_grid(torch.from_numpy(kept["grid"][solved]))
    kept_outputs = [output for output, there in zip(outputs, solved[:count], strict=True) if there]
    kept_codewords = [codeword for codeword, there in zip(codewords, solved[count:], strict=True) if there]
    return Issued(name, accuracy, predictor, images, kept_outputs, kept_codewords, pictures[2 * count :])
