"""Teachers and students: the one place that says how they are made. They are made once and shared by all rows.

A data set of the paper is a `Kind`: its network, layout, schedules. The faces have five folds, a teacher and a student
each; MNIST has several students of one teacher, each with a customer's number, so that what is said of students is not
said of one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor, nn

from benchmarks.dsn.budgets import Budget
from benchmarks.kept import Made, Shelf
from models import data
from models.checkpoints import decode_weights, encode_weights
from models.data import Dataset, faces
from models.networks import build
from models.predictor import Predictor
from models.serial_numbers import dsn
from models.serial_numbers.dsn import DistillationConfig, Layout, Stamp, Statement
from models.training import TrainingConfig, initialise, presets, train
from service.settings import Settings

OWNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # an experiment's, so that it comes out the same twice
OWNER_NAME, ISSUED_AT = "Signet", "2027-01-15T12:00:00Z"
COLD, WARM = "cold", "warm"
FORWARD = 1 / 3  # of forward and backward together
PAPER_LAYOUT = Layout("corner", 9)  # section 3.2: 3 x 3 on a fixed position
# Signs and faces lose accuracy by a lattice, which covers a fifth of them and what tells one from another (ADR 0019).
ASIDE = Layout("corner", 64)


def _bfloat16_is_fast() -> bool:
    """Whether the processor has instructions for it; without them it takes many times as long as float32."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)
    return bool(supported())


PRECISION = torch.bfloat16 if _bfloat16_is_fast() else torch.float32  # of passes in training; tests are in float32


@dataclass(frozen=True)
class Kind:
    """How a data set's networks are made; `data` is its name in `models.data`.

    `student` starts from fresh weights, `warm` from those of another student; `published` is the paper's own form.
    """

    data: str
    network: str
    config: Mapping[str, int | float]
    teacher: TrainingConfig
    student: DistillationConfig
    warm: DistillationConfig
    published: DistillationConfig
    layout: Layout = dsn.STRONG
    folds: int = 1
    students: int = 1

    def blank(self) -> nn.Module:
        """The architecture, on its way to be trained."""
        network = build(self.network, self.config)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network


_STUDENT = DistillationConfig()
_PUBLISHED = replace(dsn.distillation.PAPER, epochs=12)
_MNIST = Kind(
    "mnist",
    "dsn_mnist",
    {},
    presets("mnist"),
    replace(_STUDENT, augment=presets("mnist").augment),
    replace(_STUDENT, epochs=3, augment=presets("mnist").augment),
    _PUBLISHED,
    students=3,
)
_GTSRB = Kind(
    "gtsrb",
    "dsn_gtsrb",
    {},
    presets("gtsrb"),
    replace(_STUDENT, epochs=24, batch_size=50, balance=0.5, augment=presets("gtsrb").augment),
    replace(_STUDENT, epochs=3, batch_size=50, balance=0.5, augment=presets("gtsrb").augment),
    _PUBLISHED,
    layout=ASIDE,
)
_FACES = Kind(
    "faces",
    "dsn_faces",
    {"channels": 1, "size": 64, "classes": 40, "width": 0.25},
    presets("faces"),
    replace(_STUDENT, epochs=150, batch_size=20, learning_rate=1e-3, augment=presets("faces").augment),
    replace(_STUDENT, epochs=20, batch_size=20, learning_rate=1e-3, augment=presets("faces").augment),
    _PUBLISHED,
    layout=ASIDE.scaled(64, 64),
    folds=5,
)
_QUICK = DistillationConfig()
_DIGITS = Kind(
    "digits",
    "dsn_mnist",
    {"width": 0.5},
    replace(presets("digits"), epochs=10),
    _QUICK,
    replace(_QUICK, epochs=2),
    replace(_PUBLISHED, epochs=2),
)
KINDS: dict[str, dict[str, Kind]] = {
    "smoke": {
        "mnist": _DIGITS,
        "gtsrb": replace(
            _DIGITS, network="dsn_gtsrb", config={"channels": 1, "size": 28, "classes": 10, "width": 0.25}
        ),
        "faces": replace(_DIGITS, folds=2),
    },
    "cpu": {"mnist": _MNIST, "gtsrb": _GTSRB, "faces": _FACES},
    "gpu": {"mnist": replace(_MNIST, students=5), "gtsrb": replace(_GTSRB, students=3), "faces": _FACES},
}


@dataclass(frozen=True)
class Student:
    """A student, the number that opens it, and where it comes from; `name` tells it from the others of its budget."""

    name: str
    predictor: Predictor
    number: Tensor  # (n,)
    stamp: Stamp
    teacher: Predictor
    dataset: Dataset


def kind_of(budget: Budget, name: str) -> Kind:
    """Of `mnist`, `gtsrb` or `faces`."""
    return KINDS[budget.name][name]


def shelf_of(budget: Budget) -> Shelf:
    """Where teachers and students are kept; `minutes` counts what earlier runs had spent on those asked for."""
    return Shelf.of(budget, "students")


def images(budget: Budget, name: str, fold: int = 0) -> Dataset:
    """The owner's images; `fold` is that of the faces."""
    kind, root = kind_of(budget, name), Settings().data_dir
    return faces.fold(root, fold) if kind.data == "faces" else data.load(kind.data, root)


def teacher(budget: Budget, shelf: Shelf, name: str, fold: int = 0) -> Predictor:
    """f_T: never leaves its owner."""
    kind, dataset = kind_of(budget, name), images(budget, name, fold)

    def make() -> Made:
        network = kind.blank()
        report = train(network, dataset, kind.teacher, precision=PRECISION)
        return network, {"accuracies": report.accuracies, "best_epoch": report.best_epoch}

    recipe = (dataset.name, kind.network, kind.config, kind.teacher, PRECISION)
    network, _ = shelf.network(f"teacher-{name}-{fold}", recipe, make, kind.blank)
    return Predictor(network, dataset.input_spec, dataset.output_spec)


def student(budget: Budget, shelf: Shelf, name: str, index: int = 0, *, fold: int = 0, start: str = COLD) -> Student:
    """Customer `index`'s student. A warm one goes on from the cold student of another customer."""
    kind, dataset, taught_by = kind_of(budget, name), images(budget, name, fold), teacher(budget, shelf, name, fold)
    config = replace(kind.student if start == COLD else kind.warm, seed=index)
    stamp = Stamp(kind.layout, dataset.input_spec)
    number = number_of(dataset, stamp, f"customer {index} {start}")
    source = None
    if start != COLD:
        another = (index + 1) % max(2, kind.students)
        source = student(budget, shelf, name, another, fold=fold).predictor.network

    def make() -> Made:
        network = kind.blank()
        if source is None:
            initialise(network, 50 + index)
        else:
            decode_weights(network, encode_weights(source))
        report = dsn.distil(network, taught_by, dataset, stamp, number, config, precision=PRECISION)
        return network, {"accuracies": report.stamped}

    recipe = (
        digest(taught_by.network),
        config,
        kind.layout,
        number.tolist(),
        None if source is None else digest(source),
        PRECISION,
    )
    label = f"{start}-{name}-{fold}-{index}"
    network, _ = shelf.network(label, recipe, make, kind.blank)
    predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
    return Student(label, predictor, number, stamp, taught_by, dataset)


def number_of(dataset: Dataset, stamp: Stamp, customer: str) -> Tensor:
    """A customer's number (n,), as the gateway derives it."""
    statement = Statement(OWNER_NAME, customer, f"{dataset.name}/1", ISSUED_AT)
    calibration = dataset.input_spec.from_grid(torch.from_numpy(dataset.calibration.images))
    _, signature = dsn.keygen(OWNER, statement, stamp, calibration)
    return dsn.number(signature, stamp.layout.bits)


def images_of(config: DistillationConfig, train: int) -> float:
    """Images forward and backward in a distillation: stamped ones and as many others, and the teacher's, forward."""
    return config.epochs * train * (2 + FORWARD)


def digest(network: nn.Module) -> str:
    """Of the weights, for a recipe."""
    return hashlib.sha256(encode_weights(network)).hexdigest()
