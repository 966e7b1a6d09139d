"""The networks whose fingerprints are measured, trained once and kept: LeNet-5 on MNIST, ResNet-20 on CIFAR-10."""

import contextlib
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.activeguard.budgets import RUNS, Budget
from benchmarks.thread import trained
from benchmarks.thread.budgets import CPU, SMOKE
from models import data
from models.checkpoints import decode_weights, encode_weights
from models.data import Dataset
from models.networks import build
from models.predictor import Predictor
from models.training import EpochReport, TrainingConfig, accuracy, presets, train
from service.inference.loaded import build as served
from service.settings import Settings

SEEDS = {"smoke": (0,), "cpu": (0, 1, 2, 3, 4), "gpu": (0, 1, 2, 3, 4)}
PAPER = trained.PAPER


@dataclass(frozen=True, slots=True)
class Network:
    """A predictor, images to start from that its training has not seen, and what its training came to."""

    predictor: Predictor
    starts: Tensor  # raw-range float32 (N, C, H, W)
    test_accuracy: float
    training_core_minutes: float
    schedule: str


def seeds(budget: Budget) -> tuple[int, ...]:
    """One LeNet-5 each."""
    return SEEDS[budget.name]


@cache
def mnist() -> Dataset:
    """MNIST from SIGNET_DATA_DIR, read once."""
    return trained.mnist()


@cache
def cifar10() -> Dataset:
    """The JPEG-compressed copy of CIFAR-10 from SIGNET_DATA_DIR, read once."""
    return data.load("cifar10", Settings().data_dir)


@cache
def lenet5(budget: Budget, seed: int) -> Network:
    """LeNet-5 on MNIST, as the first thread trains it."""
    sizes = SMOKE if budget.name == "smoke" else CPU
    artefact = trained.artefact(sizes, seed)
    predictor, dataset = served(artefact), mnist()
    config = presets("mnist") if sizes.epochs is None else replace(presets("mnist"), epochs=sizes.epochs)
    until, before = (trained.training_core_minutes(replace(sizes, seeds=count)) for count in (seed + 1, seed))
    reached = artefact.manifest.metrics["test_accuracy"]
    return Network(predictor, starts(dataset), reached, until - before, _schedule(config))


def resnet20(budget: Budget) -> Network:
    """ResNet-20 on the JPEG-compressed copy of CIFAR-10, stopped early where a whole schedule would take too long."""
    epochs, stop = {"smoke": (1, 1), "cpu": (2, 1), "gpu": (14, 14)}[budget.name]
    dataset = cifar10()
    config = replace(presets("cifar10"), epochs=epochs)
    if budget.name == "smoke":
        parts = {part: getattr(dataset, part).take(np.arange(1_000)) for part in ("train", "validation", "test")}
        dataset = replace(dataset, **parts)
    network = build("resnet", {})
    name = hashlib.sha256(repr((asdict(config), stop, len(dataset.train))).encode()).hexdigest()[:8]
    weights, facts = (_folder() / f"resnet20-{name}.{ending}" for ending in ("safetensors", "json"))
    if not facts.exists():
        found = _trained(network, dataset, config, stop)
        weights.write_bytes(encode_weights(network))
        facts.write_text(json.dumps(found))
    decode_weights(network, weights.read_bytes())
    found = json.loads(facts.read_text())
    predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
    schedule = f"{_schedule(config)}, stopped after {stop}"
    return Network(predictor, starts(dataset), found["test_accuracy"], found["core_minutes"], schedule)


class _Enough(Exception):
    """Ends a training run early."""


def _trained(network: nn.Module, dataset: Dataset, config: TrainingConfig, stop: int) -> dict[str, float]:
    def look(report: EpochReport) -> None:
        if report.epoch == stop:
            raise _Enough

    began = time.process_time()
    with contextlib.suppress(_Enough):
        train(network, dataset, config, on_epoch=look, keep="last")
    minutes = (time.process_time() - began) / 60
    predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
    return {"test_accuracy": accuracy(predictor, dataset.test), "core_minutes": minutes}


def starts(dataset: Dataset) -> Tensor:
    """The calibration images as raw-range values."""
    return dataset.input_spec.from_grid(torch.from_numpy(dataset.calibration.images))


def entropy(seed: int, count: int) -> list[bytes]:
    """So many times 16 bytes, the same for the same seed: what is measured must come out the same twice."""
    drawn = torch.randint(256, (count, 16), generator=torch.Generator().manual_seed(seed))
    return [bytes(row) for row in drawn.tolist()]


def images(network: Network, count: int, seed: int) -> Tensor:
    """So many of its starts, drawn with the seed."""
    rows = torch.randint(len(network.starts), (count,), generator=torch.Generator().manual_seed(seed))
    return network.starts[rows]


def training_minutes(networks: Sequence[Network]) -> float:
    """Core-minutes of all of them."""
    return sum(network.training_core_minutes for network in networks)


def _folder() -> Path:
    folder = RUNS / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _schedule(config: TrainingConfig) -> str:
    return f"{config.epochs} epochs, batches of {config.batch_size}, AdamW one-cycle to {config.learning_rate}"
