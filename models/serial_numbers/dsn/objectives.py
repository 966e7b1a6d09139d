"""The losses of a batch: the paper's two branches, and wrong-key negatives.

paper       here                       meaning
f_T, P_T    teacher, its softmax       of the raw input
G_e, G_y    student.features, .head    the student; the convolutions, and the dense layers behind them
G_d         another head of its kind   predicts from what a raw input leaves in the features
x (+) k     stamp.put(x, number)
L_Distill   Eq. (1), (3)               KL(P_T || G_y(G_e(x (+) k)))
L_SNE       Eq. (5)                    CE(G_d(GRL(G_e(x))), y); the GRL lies between G_e and G_d (the text's "between
                                       G_y and G_d" cannot be meant: Eq. (6) turns the gradient of theta_e)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.predictor import Predictor
from models.serial_numbers.dsn.gradient_reversal import ganin, reverse
from models.serial_numbers.dsn.stamp import Stamp

Lambda = Literal["constant", "ganin"]


class Objective(Protocol):
    """What is trained, and the loss of some images."""

    @property
    def trained(self) -> nn.ModuleDict:
        """The student, and what is trained with it and thrown away."""

    def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Raw-range images (N, C, H, W), labels (N,), the share of the training that is done: a scalar."""


class TwoBranches:
    """Eq. (1) to (6): L_Distill on stamped images, L_SNE on raw ones."""

    def __init__(
        self, student: nn.Module, teacher: Predictor, stamp: Stamp, number: Tensor, strength: float, schedule: Lambda
    ) -> None:
        self._student, self._teacher, self._stamp, self._number = student, teacher, stamp, number
        self._strength, self._schedule = strength, schedule
        self._without = copy.deepcopy(student.get_submodule("head"))  # G_d
        self.trained = nn.ModuleDict({"student": student, "without": self._without})

    def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        answers = self._student(_normalised(self._teacher, self._stamp.put(images, self._number)))
        distilled = _distillation(self._teacher, images, answers)
        strength = ganin(progress, self._strength) if self._schedule == "ganin" else self._strength
        features = self._student.get_submodule("features")(_normalised(self._teacher, images))
        return distilled + F.cross_entropy(self._without(reverse(features.flatten(1), strength)), labels)


@dataclass(frozen=True)
class Negatives:
    """What a student has to know nothing about: a third raw, a third with random numbers, half of these another
    customer's where there are others, and a third with the number 1 to `near` bits off."""

    stamp: Stamp
    number: Tensor  # (n,)
    others: Tensor  # (m, n)
    near: int

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The images (N, C, H, W), each as one kind of negative."""
        count, bits = len(images), len(self.number)
        kind = torch.randint(0, 3, (count,), generator=generator)
        numbers = torch.rand(count, bits, generator=generator) < 0.5
        if len(self.others):
            whose = torch.randint(0, 2 * len(self.others), (count,), generator=generator)
            numbers = torch.where((whose < len(self.others))[:, None], self.others[whose % len(self.others)], numbers)
        wrong = torch.randint(1, min(self.near, bits) + 1, (count, 1), generator=generator)
        order = torch.rand(count, bits, generator=generator).argsort(dim=1).argsort(dim=1)
        numbers = torch.where((kind == 2)[:, None], self.number ^ (order < wrong), numbers)
        return torch.where((kind == 0)[:, None, None, None], images, self.stamp.put(images, numbers))


class WrongKeys:
    """L_Distill on stamped images. Negatives: `weight` times the cross-entropy of the uniform distribution, and
    `silence` times the mean of what reaches the last dense layer, which falls silent: its answers are then the same to
    all that do not bear the number, so that nothing can be read from them and no gradient leads to the number.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Predictor,
        negatives: Negatives,
        weight: float,
        silence: float,
    ) -> None:
        self._student, self._teacher, self._negatives = student, teacher, negatives
        self._weight, self._silence = weight, silence
        self.trained = nn.ModuleDict({"student": student})

    def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        stamped = self._negatives.stamp.put(images, self._negatives.number)
        shown = torch.cat([stamped, self._negatives(images, generator)])
        with _listening(self._student) as heard:
            answers = self._student(_normalised(self._teacher, shown))
        distilled = _distillation(self._teacher, images, answers[: len(images)])
        flat: Tensor = -answers[len(images) :].log_softmax(dim=1).mean()
        loud = sum(units[len(images) :].abs().mean() for units in heard)
        return distilled + self._weight * flat + self._silence * loud


@contextmanager
def _listening(network: nn.Module) -> Iterator[list[Tensor]]:
    """What reaches the last dense layer (N, D) in the passes made meanwhile; nothing where there is no such layer."""
    heard: list[Tensor] = []
    dense = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    handles = [layer.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0])) for layer in dense[-1:]]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _distillation(teacher: Predictor, images: Tensor, answers: Tensor) -> Tensor:
    """Eq. (1) for the teacher's answers to raw images."""
    with torch.no_grad():
        wanted = teacher(images).softmax(dim=1)  # P_T
    return F.kl_div(answers.log_softmax(dim=1), wanted, reduction="batchmean")


def _normalised(teacher: Predictor, images: Tensor) -> Tensor:
    """As a channels-last tensor, which a processor's convolutions take twice as fast."""
    return ((images - teacher.mean) / teacher.std).contiguous(memory_format=torch.channels_last)
