"""Students that work only with their customer's stamp: arXiv:2011.08960, section 2.2, and a form that locks.

paper       here                       meaning
f_T, P_T    teacher, its softmax       of the raw input
G_e, G_y    student.features, .head    the student; the convolutions, and the dense layers behind them
G_d         another head of its kind   predicts from what a raw input leaves in the features
x (+) k     stamp.put(x, number)
L_Distill   Eq. (1), (3)               KL(P_T || G_y(G_e(x (+) k)))
L_SNE       Eq. (5)                    CE(G_d(GRL(G_e(x))), y); the GRL lies between G_e and G_d (the text's "between
                                       G_y and G_d" cannot be meant: Eq. (6) turns the gradient of theta_e)

`paper` has these two alone. `negatives`, the default, has L_Distill, and pulls the answers to inputs that do not bear
the number to the uniform distribution: raw ones, random numbers, numbers a few bits off, other customers'.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.checkpoints import encode_weights
from models.data import Dataset, Split
from models.errors import SerialNumberError
from models.predictor import Predictor, predict
from models.resuming import Progress, resume, save
from models.serial_numbers.dsn.gradient_reversal import ganin, reverse
from models.serial_numbers.dsn.stamp import Stamp
from models.training import Regularizer

Mode = Literal["negatives", "paper"]
Lambda = Literal["constant", "ganin"]
OnBatch = Callable[[int, int], None]


@dataclass(frozen=True)
class DistillationConfig:
    """The paper's schedule: Adam, 500 stamped and 500 other inputs a batch, 0.001 divided by 10 on a plateau.

    A plateau is `patience` epochs without a better validation accuracy with the stamp. `strength` and `schedule` are
    lambda's, of `paper`; `weight` is that of the negatives, of which near ones have 1 to `near` bits wrong.
    """

    epochs: int = 30
    batch_size: int = 500
    learning_rate: float = 1e-3
    patience: int = 4
    mode: Mode = "negatives"
    strength: float = 1.0
    schedule: Lambda = "constant"
    weight: float = 1.0
    near: int = 8
    seed: int = 0


@dataclass(frozen=True)
class DistillationReport:
    """Validation accuracy with the stamp after each epoch; on held-out images with it and without one at the end."""

    stamped: tuple[float, ...]
    test_stamped: float
    test_raw: float


def distil(
    student: nn.Module,
    teacher: Predictor,
    dataset: Dataset,
    stamp: Stamp,
    number: Tensor,
    config: DistillationConfig,
    *,
    others: Sequence[Tensor] = (),
    on_batch: OnBatch | None = None,
    checkpoint: Path | None = None,
    regularizer: Regularizer | None = None,
) -> DistillationReport:
    """Train `student` in place, from the weights it has, to work with `number` (n,) alone; the last epoch is kept.

    The student has `features` and `head`, as `models.networks.dsn`. `others` are numbers of other customers.
    `regularizer` adds a term to every batch's loss, such as the student's mark. A killed run goes on from
    `checkpoint`. Raises SerialNumberError naming `student` for a network of another kind, `bits` for a number of
    another length, WeightsError naming `checkpoint` when that belongs to another run.
    """
    if not all(isinstance(getattr(student, part, None), nn.Module) for part in ("features", "head")):
        raise SerialNumberError("student", "must have the modules `features` and `head`")
    stamp.mask(number)  # raises where the lengths differ
    objective = _Objective(student, teacher, stamp, number, config, tuple(others), regularizer)
    optimizer = torch.optim.Adam(objective.parameters(), lr=config.learning_rate)
    progress = Progress.start(_run(dataset, teacher, stamp, config, [number, *others], regularizer))
    if checkpoint is not None and checkpoint.exists():
        progress = resume(checkpoint, objective.trained, optimizer, progress.run)
    predictor = Predictor(student, dataset.input_spec, dataset.output_spec)
    for epoch in range(len(progress.accuracies), config.epochs):
        rate = plateau(progress.accuracies, config.learning_rate, config.patience)
        for group in optimizer.param_groups:
            group["lr"] = rate
        _train_epoch(objective, optimizer, dataset.train, epoch, on_batch)
        progress = progress.after_epoch(objective.trained, accuracy(predictor, dataset.validation, stamp, number))
        if checkpoint is not None:
            save(checkpoint, objective.trained, optimizer, progress)
    test = dataset.test
    return DistillationReport(
        progress.accuracies, accuracy(predictor, test, stamp, number), accuracy(predictor, test, stamp, None)
    )


class _Objective:
    """The loss of a batch."""

    def __init__(
        self,
        student: nn.Module,
        teacher: Predictor,
        stamp: Stamp,
        number: Tensor,
        config: DistillationConfig,
        others: tuple[Tensor, ...],
        regularizer: Regularizer | None = None,
    ) -> None:
        self.regularizer = regularizer
        self.student, self.teacher, self.stamp, self.number = student, teacher, stamp, number
        self.config, self.others = config, others
        self.features = student.get_submodule("features")
        self.without = _fresh(student.get_submodule("head"), config.seed)  # G_d
        self.trained = nn.ModuleDict({"student": student})
        if config.mode == "paper":
            self.trained["without"] = self.without

    def parameters(self) -> list[nn.Parameter]:
        """Of all that is trained."""
        return list(self.trained.parameters())

    def __call__(self, images: Tensor, labels: Tensor, progress: float, generator: torch.Generator) -> Tensor:
        """Raw-range images (N, C, H, W): one half of the batch stamped, the other half not."""
        with torch.no_grad():
            wanted = self.teacher(images).softmax(dim=1)  # P_T
        answers: Tensor = self.student(self._normalised(self.stamp.put(images, self.number)))
        distillation = F.kl_div(answers.log_softmax(dim=1), wanted, reduction="batchmean")
        if self.config.mode == "paper":
            return distillation + self._embedding(images, labels, progress)
        negatives = self._normalised(self.negatives(images, generator))
        flat: Tensor = -self.student(negatives).log_softmax(dim=1).mean()  # cross-entropy of the uniform distribution
        return distillation + self.config.weight * flat

    def _embedding(self, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        """L_SNE of Eq. (5)."""
        strength = self.config.strength
        if self.config.schedule == "ganin":
            strength = ganin(progress, strength)
        features = reverse(self.features(self._normalised(images)).flatten(1), strength)
        return F.cross_entropy(self.without(features), labels)

    def negatives(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A third raw, a third with random numbers or other customers', a third with the number a few bits off."""
        count, bits = len(images), len(self.number)
        kind = torch.randint(0, 3, (count,), generator=generator)
        numbers = torch.rand(count, bits, generator=generator) < 0.5
        if self.others:
            whose = torch.randint(0, 2 * len(self.others), (count,), generator=generator)
            known = torch.stack(self.others)
            numbers = torch.where((whose < len(known))[:, None], known[whose % len(known)], numbers)
        wrong = torch.randint(1, min(self.config.near, bits) + 1, (count, 1), generator=generator)
        order = torch.rand(count, bits, generator=generator).argsort(dim=1).argsort(dim=1)
        numbers = torch.where((kind == 2)[:, None], self.number ^ (order < wrong), numbers)
        return torch.where((kind == 0)[:, None, None, None], images, self.stamp.put(images, numbers))

    def _normalised(self, images: Tensor) -> Tensor:
        return (images - self.teacher.mean) / self.teacher.std


def accuracy(predictor: Predictor, split: Split, stamp: Stamp, number: Tensor | None) -> float:
    """The share of the split that is right, stamped with a number (n,), numbers (N, n), or not at all."""
    predictor.eval()
    images = predictor.input_spec.from_grid(torch.from_numpy(split.images))
    shown = images if number is None else stamp.put(images, number)
    return float((predict(predictor, shown).argmax(dim=1) == torch.from_numpy(split.labels)).float().mean())


def plateau(accuracies: Sequence[float], rate: float, patience: int) -> float:
    """The learning rate after these epochs: a tenth for each time that `patience` epochs brought nothing better."""
    best, since = -1.0, 0
    for reached in accuracies:
        best, since = (reached, 0) if reached > best else (best, since + 1)
        if since == patience:
            rate, since = rate / 10, 0
    return rate


def _train_epoch(
    objective: _Objective, optimizer: torch.optim.Optimizer, split: Split, epoch: int, on_batch: OnBatch | None
) -> None:
    config, spec = objective.config, objective.teacher.input_spec
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    generator = torch.Generator().manual_seed((config.seed << 20) + epoch)
    batches = torch.split(torch.randperm(len(images), generator=generator), config.batch_size)
    total = config.epochs * len(batches)
    objective.trained.train()
    for index, rows in enumerate(batches):
        done = epoch * len(batches) + index
        loss = objective(spec.from_grid(images[rows]), labels[rows], done / total, generator)
        if objective.regularizer is not None:
            loss = loss + objective.regularizer(objective.student)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if on_batch is not None:
            on_batch(done + 1, total)
    objective.trained.eval()


def _fresh(head: nn.Module, seed: int) -> nn.Module:
    """Another head of the same kind, with weights of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        other = copy.deepcopy(head)
        for module in other.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return other


def _run(
    dataset: Dataset,
    teacher: Predictor,
    stamp: Stamp,
    config: DistillationConfig,
    numbers: Sequence[Tensor],
    regularizer: Regularizer | None,
) -> str:
    """Tells one run from another. Numbers are secrets: they go in by a digest that needs the teacher, a secret too."""
    content = b"".join(bytes(number.tolist()) for number in numbers)
    digest = hashlib.sha256(encode_weights(teacher.network) + content).hexdigest()
    more = "" if regularizer is None else f" {regularizer.description}"
    return f"dsn {dataset.name} {asdict(stamp.layout)} {asdict(config)} {digest}{more}"
