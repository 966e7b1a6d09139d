"""Eight small students of one teacher on the bundled digits: seconds, once a session."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from models import data
from models.checkpoints import encode_weights
from models.data import Dataset
from models.evaluation.probing import Probe, labelled_by
from models.evaluation.tracing import RegisteredStudent
from models.networks import build
from models.predictor import Predictor
from models.serial_numbers import dsn
from models.training import TrainingConfig, initialise, train
from models.watermarks.signs import SignRegularizer

COUNT = 8
NETWORK, CONFIG = "dsn_mnist", {"width": 0.125}  # 3,350 weights
LESSON = dsn.DistillationConfig(epochs=10, batch_size=50, learning_rate=6e-3)


@dataclass(frozen=True)
class Class:
    """A teacher and its students, which differ in number and mark alone."""

    dataset: Dataset
    teacher: Predictor
    stamp: dsn.Stamp
    numbers: Tensor  # (8, 64)
    keys: tuple[bytes, ...]
    weights: tuple[bytes, ...]

    @property
    def registered(self) -> tuple[RegisteredStudent, ...]:
        def student(at: int) -> RegisteredStudent:
            return RegisteredStudent(f"student {at}", self.numbers[at], self.keys[at], lambda: self.weights[at])

        return tuple(map(student, range(COUNT)))

    @property
    def probe(self) -> Probe:
        spec = self.dataset.input_spec
        return labelled_by(self.teacher, spec.from_grid(torch.from_numpy(self.dataset.calibration.images)))

    def shell(self) -> Predictor:
        """A network to put suspects into."""
        return Predictor(build(NETWORK, CONFIG), self.dataset.input_spec, self.dataset.output_spec)

    def network(self, at: int) -> nn.Module:
        """A copy of a student."""
        from models.checkpoints import decode_weights

        network = build(NETWORK, CONFIG)
        decode_weights(network, self.weights[at])
        return network.eval()


@cache
def students() -> Class:
    """Distil them, the first time."""
    dataset = data.load("digits")
    teacher = Predictor(build(NETWORK, CONFIG), dataset.input_spec, dataset.output_spec)
    train(teacher.network, dataset, TrainingConfig(epochs=15, batch_size=50, learning_rate=6e-3, augment=None))
    stamp = dsn.Stamp(dsn.Layout("lattice", 64), dataset.input_spec)
    numbers = torch.rand(COUNT, 64, generator=torch.Generator().manual_seed(1)) < 0.5
    keys = tuple(bytes([at]) * 32 for at in range(COUNT))
    weights = []
    for number, key in zip(numbers, keys, strict=True):
        student = build(NETWORK, CONFIG)
        initialise(student, 5)
        dsn.distil(student, teacher, dataset, stamp, number, LESSON, regularizer=SignRegularizer(key))
        weights.append(encode_weights(student))
    return Class(dataset, teacher, stamp, numbers, keys, tuple(weights))
