"""A trace among many students of one MNIST teacher: stolen ones, colluders, and networks that are nobody's.

At `cpu` students are narrow and learn from a part of the images, so that fifty of them can be made.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import nn

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.students import digest
from benchmarks.kept import Made, Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.runner import Part
from benchmarks.statistics import exact
from models import data
from models.attacks.pruning import prune_globally
from models.checkpoints import encode_weights
from models.data import Dataset, Split
from models.evaluation.probing import labelled_by
from models.evaluation.tracing import RegisteredStudent, trace
from models.networks import build
from models.predictor import Predictor
from models.serial_numbers import dsn
from models.serial_numbers.dsn.distillation import accuracy
from models.training import TrainingConfig, initialise, presets, train
from models.watermarks.signs import SignRegularizer
from service.settings import Settings

ROWS = ("trace_clean", "trace_fine_tuned", "trace_pruned", "trace_colluders", "trace_innocent")
KEPT = 0.1  # of the training images: what the thief of the fine-tuned students has
FINE_TUNING_STEPS = 500
CUT = 0.4  # of the weights
SAID = {
    "clean": "the student as it was given out is named, and nobody else",
    "fine_tuned": "fine-tuned with its stamp on 10 % of the data",
    "pruned": "with 40 % of its weights pruned",
    "colluders": "two students averaged: at least one of the two is named, and nobody else",
    "innocent": "independent networks name nobody",
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many students and innocent networks, how large, how long taught, on how many images; random numbers."""

    students: int
    innocents: int
    width: float
    images: int
    teacher_epochs: int
    epochs: int
    draws: int


SIZES = {
    "smoke": Sizes(4, 3, 0.125, images=2_000, teacher_epochs=4, epochs=4, draws=200),
    "cpu": Sizes(50, 100, 0.125, images=3_000, teacher_epochs=20, epochs=12, draws=5_000),
    "gpu": Sizes(50, 100, 1.0, images=30_000, teacher_epochs=20, epochs=14, draws=10_000),
}


def traces(budget: Budget, steps: Steps) -> list[Row]:
    """All five rows."""
    school = School.open(SIZES[budget.name], Shelf.of(budget, "traces"))
    for at in steps.over(range(school.sizes.students), "students"):
        school.student(at)
    found = {
        name: [school.held(name, at, suspect) for at in steps.over(range(count), name)]
        for name, count, suspect in school.suspects()
    }
    return [_row(school, name, each) for name, each in found.items()]


def _row(school: "School", name: str, found: list[Piece]) -> Row:
    students, hits = school.sizes.students, 0
    for at, one in enumerate(found):
        named, pair = set(map(int, one["named"])), {at, (at + 1) % students}
        wanted = {"colluders": bool(named) and named <= pair, "innocent": not named}
        hits += wanted.get(name, named == {at})
    extra = {
        "sizes": asdict(school.sizes),
        "figures": _figures(found),
        "resumed_core_minutes": school.shelf.minutes / len(ROWS),
    }
    what, n = f"trace among {students} students: {SAID[name]}", len(found)
    how = "exact (Clopper and Pearson), 95 %"
    return Row(f"trace_{name}", what, bar("==", 1.0), hits / n, n, *exact(hits, n), how, extra)


def _figures(found: list[Piece]) -> dict[str, float]:
    """Medians and the worst, of the student that is likeliest."""

    def of(name: str) -> list[float]:
        return [float(one[name]) for one in found]

    return {
        "median_probe_accuracy": median(of("correct")),
        "median_log10_p_stamp": median(of("log10_p_stamp")),
        "median_log10_p_mark": median(of("log10_p_mark")),
        "weakest_log10_p_mark": max(of("log10_p_mark")),
        "strongest_log10_adjusted_p": min(of("log10_adjusted_p")),
        "indicated": sum(bool(one["indicated"]) for one in found),
        "named_each": median(len(one["named"]) for one in found),
        "median_test_accuracy": median(of("test_accuracy")),
    }


@dataclass(frozen=True, slots=True)
class School:
    """A teacher and its students: a number and a mark's key each."""

    sizes: Sizes
    shelf: Shelf
    dataset: Dataset
    teacher: Predictor
    stamp: dsn.Stamp
    numbers: torch.Tensor  # (students, n)

    @classmethod
    def open(cls, sizes: Sizes, shelf: Shelf) -> "School":
        """With its teacher trained."""
        whole = data.load("mnist", Settings().data_dir)
        dataset = replace(whole, train=whole.train.take(np.arange(sizes.images)))
        stamp = dsn.Stamp(dsn.STRONG, whole.input_spec)
        numbers = torch.rand(sizes.students, stamp.layout.bits, generator=torch.Generator().manual_seed(1)) < 0.5
        training = replace(presets("mnist"), epochs=sizes.teacher_epochs)

        def make() -> Made:
            network = _fresh(sizes)
            return network, {"accuracies": train(network, dataset, training).accuracies}

        network, _ = shelf.network("teacher", (sizes, training), make, partial(_fresh, sizes))
        return cls(sizes, shelf, dataset, Predictor(network, whole.input_spec, whole.output_spec), stamp, numbers)

    def student(self, at: int) -> nn.Module:
        """As the gateway makes them: one seed for all, a number and a mark each."""
        config = dsn.DistillationConfig(epochs=self.sizes.epochs, batch_size=50, learning_rate=6e-3)

        def make() -> Made:
            student, mark = _fresh(self.sizes), SignRegularizer(_key(at))
            report = dsn.distil(
                student, self.teacher, self.dataset, self.stamp, self.numbers[at], config, regularizer=mark
            )
            return student, {"stamped": report.test_stamped, "raw": report.test_raw}

        recipe = (digest(self.teacher.network), self.numbers[at].tolist(), config)
        return self.shelf.network(f"student-{at}", recipe, make, partial(_fresh, self.sizes))[0]

    def _weights(self, at: int) -> bytes:
        return encode_weights(self.student(at))

    def suspects(self) -> tuple[tuple[str, int, Callable[[int], nn.Module]], ...]:
        """Names, how many, and what makes one."""
        students = self.sizes.students
        return (
            ("clean", students, self.student),
            ("fine_tuned", students, self.fine_tuned),
            ("pruned", students, lambda at: prune_globally(self.student(at), CUT)),
            ("colluders", students, self.averaged),
            ("innocent", self.sizes.innocents, self.innocent),
        )

    def fine_tuned(self, at: int) -> nn.Module:
        """A customer trains on, on stamped images with their labels: the thief knows his number."""
        network, few = self.student(at), self.dataset.train.take(np.arange(int(KEPT * len(self.dataset.train))))
        images = self.stamp.put(self.dataset.input_spec.from_grid(torch.from_numpy(few.images)), self.numbers[at])
        stamped = Split(self.dataset.input_spec.to_grid(images).numpy(), few.labels)
        epochs = math.ceil(FINE_TUNING_STEPS / math.ceil(len(few) / 64))
        config = TrainingConfig(epochs=epochs, batch_size=64, learning_rate=1e-3, augment=None, fresh=False)
        train(network, replace(self.dataset, train=stamped, validation=stamped, test=stamped), config, keep="last")
        return network.eval()

    def averaged(self, at: int) -> nn.Module:
        """This student's weights and the next one's."""
        network, other = self.student(at), self.student((at + 1) % self.sizes.students)
        with torch.no_grad():
            for one, two in zip(network.parameters(), other.parameters(), strict=True):
                one.lerp_(two, 0.5)
        return network

    def innocent(self, at: int) -> nn.Module:
        """Half of them unlocked, from other seeds; half locked to a number that is not registered."""
        network = _fresh(self.sizes, 1_000 + at)
        dataset = replace(self.dataset, train=self.dataset.train.take(np.arange(min(2_000, self.sizes.images))))
        if at % 2:
            number = torch.rand(self.stamp.layout.bits, generator=torch.Generator().manual_seed(1_000 + at)) < 0.5
            config = dsn.DistillationConfig(epochs=3, batch_size=50, seed=at)
            dsn.distil(network, self.teacher, dataset, self.stamp, number, config)
        else:
            train(network, dataset, TrainingConfig(epochs=2, seed=at, augment=None))
        return network.eval()

    def held(self, name: str, at: int, suspect: Callable[[int], nn.Module]) -> Piece:
        """What a trace found."""
        recipe = (digest(self.teacher.network), self.sizes, KEPT, FINE_TUNING_STEPS, CUT)
        return self.shelf.piece(f"{name}-{at}", recipe, lambda: self._hold(suspect(at), at % self.sizes.students))

    def _hold(self, network: nn.Module, whose: int) -> Piece:
        spec = self.dataset.input_spec
        probe = labelled_by(self.teacher, spec.from_grid(torch.from_numpy(self.dataset.calibration.images)))
        registered = [
            RegisteredStudent(str(at), self.numbers[at], _key(at), partial(self._weights, at))
            for at in range(self.sizes.students)
        ]
        shell = Predictor(_fresh(self.sizes), spec, self.dataset.output_spec)
        found = trace(encode_weights(network), shell, self.stamp, registered, probe, draws=self.sizes.draws)
        best = min(found.suspicions, key=lambda each: each.log10_adjusted_p)
        asked = Predictor(network, spec, self.dataset.output_spec)
        return {
            "named": [each.id for each in found.named],
            "indicated": [each.id for each in found.indicated],
            "correct": best.correct / found.probes,
            "log10_p_stamp": best.log10_p_stamp,
            "log10_p_mark": best.log10_p_mark,
            "log10_adjusted_p": best.log10_adjusted_p,
            "test_accuracy": accuracy(asked, self.dataset.test, self.stamp, self.numbers[whose]),
        }


def _fresh(sizes: Sizes, seed: int = 5) -> nn.Module:
    network = build("dsn_mnist", {"width": sizes.width})
    initialise(network, seed)
    return network


def _key(at: int) -> bytes:
    """Of a student's mark."""
    return at.to_bytes(32, "big")


PARTS: tuple[Part[Budget], ...] = (Part("traces", ROWS, traces),)
