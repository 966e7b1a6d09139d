"""A trace among many students of one MNIST teacher: stolen ones, colluders, and networks that are nobody's.

Students, and what was found, are kept in `folder`, so that an interrupted measurement goes on. With fewer random
numbers than the gateway's 10,000 the stamp's p-value has a higher floor and nothing else changes.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import load, save
from torch import nn

from benchmarks.dsn.budgets import Budget
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.runner import Part
from benchmarks.statistics import exact
from models import data
from models.attacks.pruning import prune_globally
from models.checkpoints import decode_weights, encode_weights
from models.data import Dataset, Split
from models.evaluation.probing import labelled_by
from models.evaluation.tracing import RegisteredStudent, Trace, trace
from models.networks import build
from models.predictor import Predictor
from models.serial_numbers import dsn
from models.serial_numbers.dsn.distillation import accuracy
from models.training import TrainingConfig, initialise, presets, train
from models.watermarks.signs import SignRegularizer
from service.settings import Settings

ROWS = ("trace_clean", "trace_fine_tuned", "trace_pruned", "trace_colluders", "trace_innocent")
KEPT_LABELS = 0.1  # of the training images: what the thief of the fine-tuned students has


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many students and innocent networks, how large, how long taught, on how many images; random numbers."""

    students: int
    innocents: int
    width: float
    images: int
    epochs: int
    draws: int


SIZES = {
    "smoke": Sizes(students=4, innocents=3, width=0.125, images=2000, epochs=4, draws=200),
    "cpu": Sizes(students=50, innocents=100, width=0.125, images=1500, epochs=8, draws=500),
    "gpu": Sizes(students=50, innocents=100, width=1.0, images=30_000, epochs=20, draws=10_000),
}


def measured(budget: Budget, steps: Steps) -> list[Row]:
    """All five rows, at a budget."""
    return traces(SIZES[budget.name], Settings().data_dir, budget.data() / "traces", steps)


def traces(sizes: Sizes, root: Path | None, folder: Path, steps: Steps) -> list[Row]:
    """All five rows; `root` is where the data sets are."""
    folder.mkdir(parents=True, exist_ok=True)
    school = _School.open(sizes, root, folder)
    for at in steps.over(range(sizes.students), "students"):
        school.student(at)
    found = {
        name: [school.held(name, at, suspect) for at in steps.over(range(count), name)]
        for name, count, suspect in school.suspects()
    }
    return [*_rows(school, found)]


def _rows(school: "_School", found: dict[str, list[dict[str, object]]]) -> Iterator[Row]:
    said = {
        "trace_clean": ("the student as it was given out is named, and nobody else", lambda at: {at}),
        "trace_fine_tuned": ("fine-tuned with its stamp on 10 % of the data", lambda at: {at}),
        "trace_pruned": ("with 40 % of its weights pruned", lambda at: {at}),
        "trace_colluders": ("two students averaged: at least one of the two is named, and nobody else", None),
        "trace_innocent": ("independent networks name nobody", lambda at: set()),
    }
    for row, (what, wanted) in said.items():
        each = found[row.removeprefix("trace_")]
        students = school.sizes.students
        hits = 0
        for at, one in enumerate(each):
            named = {int(name) for name in one["named"]}  # type: ignore[attr-defined]
            pair = {at, (at + 1) % students}
            hits += named == wanted(at) if wanted else bool(named) and named <= pair
        low, high = exact(hits, len(each))
        yield Row(
            row,
            f"trace among {students} students: {what}",
            bar("==", 1.0),
            hits / len(each),
            len(each),
            low,
            high,
            "exact (Clopper and Pearson)",
            {"sizes": vars_of(school.sizes), "figures": _figures(each)},
        )


def _figures(each: list[dict[str, object]]) -> dict[str, float]:
    """Medians and the worst, of the student that is likeliest."""

    def of(name: str) -> list[float]:
        return [float(one[name]) for one in each]  # type: ignore[arg-type]

    return {
        "median_probe_accuracy": median(of("correct")),
        "median_log10_p_stamp": median(of("log10_p_stamp")),
        "median_log10_p_mark": median(of("log10_p_mark")),
        "weakest_log10_p_mark": max(of("log10_p_mark")),
        "strongest_log10_adjusted_p": min(of("log10_adjusted_p")),
        "indicated": sum(bool(one["indicated"]) for one in each),
        "named_each": median(len(one["named"]) for one in each),  # type: ignore[arg-type]
        "median_test_accuracy": median(of("test_accuracy")),
    }


def vars_of(sizes: Sizes) -> dict[str, float]:
    """For the results file."""
    return {name: getattr(sizes, name) for name in Sizes.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class _School:
    """The teacher, the numbers and keys, and what is on the disk."""

    sizes: Sizes
    folder: Path
    dataset: Dataset
    teacher: Predictor
    stamp: dsn.Stamp
    numbers: torch.Tensor

    @classmethod
    def open(cls, sizes: Sizes, root: Path | None, folder: Path) -> "_School":
        whole = data.load("mnist", root)
        train_split = Split(whole.train.images[: sizes.images], whole.train.labels[: sizes.images])
        dataset = replace(whole, train=train_split)
        teacher = Predictor(build("dsn_mnist", {"width": sizes.width}), whole.input_spec, whole.output_spec)
        file = folder / "teacher.safetensors"
        if file.exists():
            decode_weights(teacher.network, file.read_bytes())
        else:
            train(teacher.network, dataset, replace(presets("mnist"), epochs=8))
            file.write_bytes(encode_weights(teacher.network))
        numbers = torch.rand(sizes.students, 64, generator=torch.Generator().manual_seed(1)) < 0.5
        stamp = dsn.Stamp(dsn.STRONG, whole.input_spec)
        return cls(sizes, folder, dataset, teacher, stamp, numbers)

    def key(self, at: int) -> bytes:
        return at.to_bytes(32, "big")

    def fresh(self, seed: int = 5) -> nn.Module:
        network = build("dsn_mnist", {"width": self.sizes.width})
        initialise(network, seed)
        return network

    def predictor(self, network: nn.Module) -> Predictor:
        return Predictor(network, self.dataset.input_spec, self.dataset.output_spec)

    def student(self, at: int) -> bytes:
        """As the gateway makes them: one seed for all, a number and a mark each."""
        file = self.folder / f"student-{at}.safetensors"
        if not file.exists():
            student = self.fresh()
            config = dsn.DistillationConfig(epochs=self.sizes.epochs, batch_size=50, learning_rate=6e-3)
            mark = SignRegularizer(self.key(at))
            dsn.distil(student, self.teacher, self.dataset, self.stamp, self.numbers[at], config, regularizer=mark)
            file.write_bytes(encode_weights(student))
        return file.read_bytes()

    def suspects(self) -> tuple[tuple[str, int, Callable[[int], nn.Module]], ...]:
        students = self.sizes.students
        return (
            ("clean", students, self.network),
            ("fine_tuned", students, self.fine_tuned),
            ("pruned", students, lambda at: prune_globally(self.network(at), 0.4)),
            ("colluders", students, self.averaged),
            ("innocent", self.sizes.innocents, self.innocent),
        )

    def network(self, at: int) -> nn.Module:
        network = self.fresh()
        decode_weights(network, self.student(at))
        return network.eval()

    def fine_tuned(self, at: int) -> nn.Module:
        """A customer trains on, on stamped images with their labels: the thief knows his number."""
        network, count = self.network(at), int(KEPT_LABELS * len(self.dataset.train))
        split = self.dataset.train
        images = self.stamp.put(
            self.dataset.input_spec.from_grid(torch.from_numpy(split.images[:count])), self.numbers[at]
        )
        stamped = Split(self.dataset.input_spec.to_grid(images).numpy(), split.labels[:count])
        config = TrainingConfig(epochs=10, batch_size=64, learning_rate=1e-3, augment=None, fresh=False)
        train(network, replace(self.dataset, train=stamped, validation=stamped, test=stamped), config, keep="last")
        return network.eval()

    def averaged(self, at: int) -> nn.Module:
        first, second = load(self.student(at)), load(self.student((at + 1) % self.sizes.students))
        network = self.fresh()
        decode_weights(network, save({name: (first[name] + second[name]) / 2 for name in first}))
        return network.eval()

    def innocent(self, at: int) -> nn.Module:
        """Half of them unlocked, from other seeds; half locked to a number that is not registered."""
        network = self.fresh(1000 + at)
        part = Split(self.dataset.train.images[:2000], self.dataset.train.labels[:2000])
        dataset = replace(self.dataset, train=part)
        if at % 2:
            number = torch.rand(64, generator=torch.Generator().manual_seed(1000 + at)) < 0.5
            config = dsn.DistillationConfig(epochs=3, batch_size=50, learning_rate=3e-3, seed=at)
            dsn.distil(network, self.teacher, dataset, self.stamp, number, config)
        else:
            train(network, dataset, TrainingConfig(epochs=2, seed=at, augment=None))
        return network.eval()

    def held(self, name: str, at: int, suspect: Callable[[int], nn.Module]) -> dict[str, object]:
        """What a trace found; from the disk if it is there."""
        file = self.folder / f"{name}-{at}.json"
        if not file.exists():
            file.write_text(json.dumps(self._hold(suspect(at), at % self.sizes.students)))
        found: dict[str, object] = json.loads(file.read_text())
        return found

    def _hold(self, network: nn.Module, whose: int) -> dict[str, object]:
        spec = self.dataset.input_spec
        probe = labelled_by(self.teacher, spec.from_grid(torch.from_numpy(self.dataset.calibration.images)))
        registered = [
            RegisteredStudent(str(at), self.numbers[at], self.key(at), partial(self.student, at))
            for at in range(self.sizes.students)
        ]
        suspect = encode_weights(network)
        found: Trace = trace(
            suspect, self.predictor(self.fresh()), self.stamp, registered, probe, draws=self.sizes.draws
        )
        best = min(found.suspicions, key=lambda each: each.log10_adjusted_p)
        return {
            "named": [each.id for each in found.named],
            "indicated": [each.id for each in found.indicated],
            "correct": best.correct / found.probes,
            "log10_p_stamp": best.log10_p_stamp,
            "log10_p_mark": best.log10_p_mark,
            "log10_adjusted_p": best.log10_adjusted_p,
            "test_accuracy": accuracy(self.predictor(network), self.dataset.test, self.stamp, self.numbers[whose]),
        }


PARTS: tuple[Part[Budget], ...] = (Part("traces", ROWS, measured),)
