"""ActiveGuard (arXiv:2103.01527), section 2.5: the linear map between a weight and a decimal digit, d = a h + b."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import WatermarkError

NO_DIGIT = -1
BASE = 10
MOST = 1e12  # of a and b: what float64 still counts by ones


@dataclass(frozen=True)
class DigitMap:
    """d = a h + b, rounded; a value that rounds to none of 0 to 9 is no digit, and is never clipped into one.

    Raises WatermarkError naming `digit_map` for numbers that are not finite or an `a` that is not positive.
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        for value in (self.a, self.b):
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
                raise WatermarkError("digit_map", "a and b must be finite numbers of ordinary size")
        if self.a <= 0:
            raise WatermarkError("digit_map", "a must be positive: larger weights are larger digits")

    @classmethod
    def from_range(cls, low: float, high: float) -> DigitMap:
        """`low` becomes 0 and `high` becomes 9; the paper's [.10, .45] gives d = (180/7) h - 18/7."""
        if not low < high:
            raise WatermarkError("digit_map", f"the range [{low}, {high}] is empty")
        return cls(9 / (high - low), -9 * low / (high - low))

    @classmethod
    def symmetric(cls, spread: float) -> DigitMap:
        """[-spread, spread] to 0 to 9, with `a` rounded to five significant figures so that it reads back."""
        if not (math.isfinite(spread) and spread > 0):
            raise WatermarkError("digit_map", "the spread of the layer must be a positive number")
        return cls(float(f"{9 / (2 * spread):.5g}"), 4.5)

    def values(self, weights: Tensor) -> Tensor:
        """map(h), not rounded; same shape."""
        return self.a * weights + self.b

    def digits(self, weights: Tensor) -> Tensor:
        """Weights of any shape -> int64 digits of that shape, `NO_DIGIT` where there is none (NaN included)."""
        rounded = self.values(weights.detach().double()).round()
        inside = (rounded >= 0) & (rounded < BASE)
        return torch.where(inside, rounded, torch.full_like(rounded, NO_DIGIT)).to(torch.int64)

    def centres(self, digits: Tensor) -> Tensor:
        """The weight in the middle of each digit's bin, float64, same shape."""
        return (digits.double() - self.b) / self.a
