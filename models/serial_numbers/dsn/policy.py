"""How a model version makes its students: what `serial_numbers` in its manifest says, as values that work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, get_args, get_type_hints

import torch
from torch import nn

from models import networks
from models.augmentation import Affine, CropAndFlip
from models.errors import ModelError, SerialNumberError
from models.serial_numbers.dsn import layers
from models.serial_numbers.dsn.distillation import DistillationConfig
from models.serial_numbers.dsn.stamp import Layout, Stamp
from models.serial_numbers.dsn.statement import LEAST_BITS
from models.specs import InputSpec, OutputSpec

Config = TypeVar("Config", Layout, DistillationConfig)
MOST_EPOCHS, MOST_BATCH = 10_000, 65_536
MOST_CHANGE = 180  # degrees, or pixels


@dataclass(frozen=True)
class Policy:
    """Where the bits stand, which network a student is, and how it is distilled.

    `leak` is how much more often than a constant answer a student may agree with its teacher on inputs that do not bear
    its number, as a share of all: who leaks more is not handed out. Raises SerialNumberError naming
    `serial_numbers.<key>`.
    """

    layout: Layout
    network: str
    network_config: Mapping[str, object]
    distillation: DistillationConfig
    leak: float = 0.1

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Policy:
        """Of a manifest, whose form is checked already; what `layout` and `distillation` leave out is the default."""
        return cls(
            _config(Layout, "layout", mapping["layout"]),
            mapping["network"],
            mapping["network_config"],
            _config(DistillationConfig, "distillation", mapping["distillation"]),
            float(mapping.get("leak", cls.leak)),
        )

    def to_dict(self) -> dict[str, object]:
        """For a manifest; `from_dict` takes it back."""
        return {
            "layout": asdict(self.layout),
            "network": self.network,
            "network_config": dict(self.network_config),
            "distillation": asdict(self.distillation),
            "leak": self.leak,
        }

    def student(self) -> nn.Module:
        """A fresh student: the same weights each time, by the seed of the distillation."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.distillation.seed)
            try:
                return networks.build(self.network, self.network_config)
            except ModelError as error:
                raise SerialNumberError(f"serial_numbers.{error.field}", error.message) from None

    def stamp(self, input_spec: InputSpec) -> Stamp:
        """The layout on a version's inputs."""
        try:
            return Stamp(self.layout, input_spec)
        except SerialNumberError as error:
            raise SerialNumberError(f"serial_numbers.layout.{error.field}", error.message) from None

    def check(self, input_spec: InputSpec, output_spec: OutputSpec) -> None:
        """That a student can be made for such inputs and outputs, with a number that cannot be guessed."""
        if self.layout.bits < LEAST_BITS:
            raise SerialNumberError("serial_numbers.layout.bits", f"must be at least {LEAST_BITS}")
        for name, most in (("epochs", MOST_EPOCHS), ("batch_size", MOST_BATCH)):
            if not 1 <= getattr(self.distillation, name) <= most:
                raise SerialNumberError(f"serial_numbers.distillation.{name}", f"must be from 1 to {most}")
        self._check_steps()
        if not 0 < self.leak <= 1:
            raise SerialNumberError("serial_numbers.leak", "must be above 0 and at most 1")
        self.stamp(input_spec)
        student, field = self.student(), "serial_numbers.network"
        layers.describe(student)
        try:
            with torch.inference_mode():
                answer = student.eval()(torch.zeros(2, *input_spec.shape))
        except Exception as error:  # a foreign network may fail in any way
            raise SerialNumberError(field, "does not take inputs of this version's shape") from error
        layers.check(student, torch.rand(2, *input_spec.shape, generator=torch.Generator().manual_seed(0)))
        if tuple(answer.shape) != (2, output_spec.classes):
            raise SerialNumberError(field, f"answers with shape {tuple(answer.shape)}, not (2, {output_spec.classes})")

    def _check_steps(self) -> None:
        """What would fail, or teach nothing, only when a worker makes the first student."""
        least = {"near": 2, "patience": 1, "strength": 0, "weight": 0, "silence": 0}
        for name, value in least.items():
            if getattr(self.distillation, name) < value:
                raise SerialNumberError(f"serial_numbers.distillation.{name}", f"must be at least {value}")
        if not 0 <= self.distillation.balance <= 1:
            raise SerialNumberError("serial_numbers.distillation.balance", "must be from 0 to 1")
        if not 0 < self.distillation.learning_rate <= 1:
            raise SerialNumberError("serial_numbers.distillation.learning_rate", "must be above 0 and at most 1")


def _config(kind: type[Config], field: str, values: object) -> Config:
    """A dataclass of plain values from a JSON object."""
    where = f"serial_numbers.{field}"
    if not isinstance(values, Mapping):
        raise SerialNumberError(where, "must be an object")
    hints, known = get_type_hints(kind), {each.name for each in fields(kind)}
    given = dict(values)
    for name, value in values.items():
        if name not in known:
            raise SerialNumberError(f"{where}.{name}", "is not a known key")
        if name == "augment":
            given[name] = _augmentation(f"{where}.{name}", value)
        elif not _fits(value, hints[name]):
            raise SerialNumberError(f"{where}.{name}", "is not a value that it can have")
    try:
        return kind(**given)
    except SerialNumberError as error:
        raise SerialNumberError(f"{where}.{error.field}", error.message) from None


def _augmentation(where: str, value: object) -> Affine | CropAndFlip | None:
    """Null, or all the limits of one of the two."""
    for kind in (Affine, CropAndFlip):
        hints = get_type_hints(kind)
        if isinstance(value, Mapping) and set(value) == set(hints):
            for name, limit in value.items():
                if not _fits(limit, hints[name]) or not 0 <= limit <= MOST_CHANGE:
                    raise SerialNumberError(f"{where}.{name}", f"must be a number from 0 to {MOST_CHANGE}")
            return kind(**value)
    if value is not None:
        names = " or ".join(", ".join(get_type_hints(kind)) for kind in (Affine, CropAndFlip))
        raise SerialNumberError(where, f"must be null, or an object of {names}")
    return None


def _fits(value: object, hint: Any) -> bool:
    choices = get_args(hint)
    if choices and all(isinstance(choice, str) for choice in choices):
        return value in choices
    if hint is float:
        return type(value) in (int, float) and abs(float(value)) < 1e30  # type: ignore[arg-type]
    if hint is int:
        return type(value) is int and 0 <= value <= 2**40
    return not choices and isinstance(hint, type) and type(value) is hint
