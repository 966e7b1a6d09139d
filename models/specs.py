"""What goes into a network and what comes out: shapes, value ranges, names, and the 8-bit grid of a picture.

Everything outside the served graph speaks raw-range values; mean and standard deviation are applied inside
(`models.predictor`). A raw-range value and a grey level are tied together here and nowhere else, so that a PNG and a
tensor of one picture are the same numbers bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, TypeVar, cast, get_args, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import SpecError

Mode = Literal["L", "RGB", "tensor"]
Resize = Literal["refuse", "fit"]
Kind = Literal["logits", "probabilities"]
Choice = TypeVar("Choice", bound=str)

LEVELS = 255  # steps between the darkest and the brightest of 256 grey levels
CHANNELS: dict[str, int] = {"L": 1, "RGB": 3}


@dataclass(frozen=True)
class InputSpec:
    """One image as the wire carries it: (C, H, W), raw-range float32 values within `value_range`.

    `mean` and `std` hold one number, or one a channel, in units of the raw range. Raises SpecError naming the field.
    """

    name: str = "image"
    shape: tuple[int, int, int] = (1, 28, 28)
    mode: Mode = "L"
    value_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: Resize = "refuse"

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "name", _text(self.name, "name"))
        set_(self, "shape", _shape(self.shape))
        set_(self, "mode", _choice(self.mode, "mode", get_args(Mode)))
        set_(self, "resize", _choice(self.resize, "resize", get_args(Resize)))
        set_(self, "value_range", _numbers(self.value_range, "value_range", (2,)))
        set_(self, "mean", _numbers(self.mean, "mean", (1, self.shape[0])))
        set_(self, "std", _numbers(self.std, "std", (1, self.shape[0])))
        if self.mode in CHANNELS and self.shape[0] != CHANNELS[self.mode]:
            raise SpecError("shape", f"mode {self.mode} has {CHANNELS[self.mode]} channel(s), not {self.shape[0]}")
        if not self.value_range[0] < self.value_range[1]:
            raise SpecError("value_range", "the lower end must be below the upper one")
        if min(self.std) <= 0:
            raise SpecError("std", "must be positive")

    def to_dict(self) -> dict[str, object]:
        """A JSON object that `from_dict` takes back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, object]) -> InputSpec:
        """Every field must be there, and no other; raises SpecError naming the first that is not right."""
        return cls(**_exactly(mapping, [field.name for field in fields(cls)]))

    @cached_property
    def levels(self) -> NDArray[np.float32]:
        """The 256 raw-range values of the grid (256,): low + (high - low) k / 255 in float32."""
        low, high = self.value_range
        k = np.arange(LEVELS + 1, dtype=np.float32)
        return np.float32(low) + np.float32(high - low) * k / np.float32(LEVELS)

    @overload
    def to_grid(self, values: Tensor) -> Tensor: ...
    @overload
    def to_grid(self, values: NDArray[np.float32]) -> NDArray[np.uint8]: ...
    def to_grid(self, values: Tensor | NDArray[np.float32]) -> Tensor | NDArray[np.uint8]:
        """Raw-range (N, C, H, W) -> the nearest of 256 grey levels, uint8; beyond the range the end of it.

        Gives back a tensor for a tensor, an array for an array. Raises SpecError for other shapes and for NaN.
        """
        if isinstance(values, Tensor):
            return torch.from_numpy(self.to_grid(values.detach().cpu().numpy())).to(values.device)
        nearest = np.rint(self._in_levels(values))
        if np.isnan(nearest).any():
            raise SpecError(self.name, "holds a value that is not a number")
        return np.clip(nearest, 0, LEVELS).astype(np.uint8)

    @overload
    def from_grid(self, grid: Tensor) -> Tensor: ...
    @overload
    def from_grid(self, grid: NDArray[np.uint8]) -> NDArray[np.float32]: ...
    def from_grid(self, grid: Tensor | NDArray[np.uint8]) -> Tensor | NDArray[np.float32]:
        """Grey levels uint8 (N, C, H, W) -> raw-range float32; level k is low + (high - low) k / 255."""
        if isinstance(grid, Tensor):
            self._check(grid.shape)
            return torch.from_numpy(self.levels).to(grid.device)[grid.long()]
        self._check(grid.shape)
        if grid.dtype != np.uint8:
            raise SpecError(self.name, f"grey levels must be uint8, not {grid.dtype}")
        return self.levels[grid]

    def is_on_grid(self, values: Tensor | NDArray[np.float32], tolerance: float = 0.01) -> NDArray[np.bool_]:
        """Which of N rows lie on the 8-bit grid: every value within `tolerance` grey levels of one of the 256. (N,)"""
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        position = self._in_levels(array)
        distance = np.abs(position - np.clip(np.rint(position), 0, LEVELS))
        return cast("NDArray[np.bool_]", (distance <= tolerance).reshape(len(array), -1).all(axis=1))

    def _in_levels(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        self._check(values.shape)
        low, high = self.value_range
        return (values.astype(np.float64) - low) * (LEVELS / (high - low))

    def _check(self, shape: Sequence[int]) -> None:
        if len(shape) != 4 or tuple(shape[1:]) != self.shape:
            raise SpecError(self.name, f"needs shape (N, {', '.join(map(str, self.shape))}), not {tuple(shape)}")


@dataclass(frozen=True)
class OutputSpec:
    """K classes, their names in order, and whether the network itself gives logits or probabilities."""

    classes: int
    labels: tuple[str, ...]
    kind: Kind = "logits"

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if type(self.classes) is not int or self.classes < 2:
            raise SpecError("classes", "must be an integer of at least 2")
        labels: object = self.labels
        if not isinstance(labels, list | tuple) or len(labels) != self.classes:
            raise SpecError("labels", f"must be a list of {self.classes} names, one a class")
        set_(self, "labels", tuple(_text(label, f"labels[{index}]") for index, label in enumerate(labels)))
        if len(set(self.labels)) < self.classes:
            raise SpecError("labels", "names a class twice")
        set_(self, "kind", _choice(self.kind, "kind", get_args(Kind)))

    @classmethod
    def numbered(cls, classes: int, kind: Kind = "logits") -> OutputSpec:
        """K classes called "0", "1", ..."""
        return cls(classes, tuple(str(index) for index in range(classes)), kind)

    def to_dict(self) -> dict[str, object]:
        """A JSON object that `from_dict` takes back."""
        return {"classes": self.classes, "labels": list(self.labels), "kind": self.kind}

    @classmethod
    def from_dict(cls, mapping: Mapping[str, object]) -> OutputSpec:
        """Every field must be there, and no other; raises SpecError naming the first that is not right."""
        return cls(**_exactly(mapping, [field.name for field in fields(cls)]))


def _exactly(mapping: object, names: Sequence[str]) -> dict[str, Any]:
    if not isinstance(mapping, Mapping):
        raise SpecError("spec", "must be an object")
    for name in mapping:
        if name not in names:
            raise SpecError(str(name), "is not a known field")
    for name in names:
        if name not in mapping:
            raise SpecError(name, "is missing")
    return dict(mapping)


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 200 or not value.isprintable():
        raise SpecError(field, "must be a printable text of 1 to 200 characters")
    return value


def _choice(value: Choice, field: str, choices: tuple[Choice, ...]) -> Choice:
    if value not in choices:
        raise SpecError(field, f"must be one of {', '.join(choices)}")
    return value


def _shape(value: object) -> tuple[int, int, int]:
    if not isinstance(value, list | tuple) or len(value) != 3 or any(type(size) is not int for size in value):
        raise SpecError("shape", "must be three integers: channels, height, width")
    if min(value) < 1 or math.prod(value) > 2**24:
        raise SpecError("shape", "must be positive and hold at most 2^24 values")
    return value[0], value[1], value[2]


def _numbers(value: object, field: str, lengths: tuple[int, ...]) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or len(value) not in lengths:
        raise SpecError(field, f"must be a list of {' or '.join(map(str, sorted(set(lengths))))} number(s)")
    try:
        if any(isinstance(number, bool) or not isinstance(number, int | float) for number in value):
            raise TypeError
        numbers = tuple(float(number) for number in value)
    except (TypeError, OverflowError):
        raise SpecError(field, "must hold numbers") from None
    if not all(abs(number) < 1e30 for number in numbers):  # NaN compares false; float32 squares must stay finite
        raise SpecError(field, "must hold finite numbers of ordinary size")
    return numbers
