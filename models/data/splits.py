"""What a data set is here: four disjoint splits of 8-bit images with labels, and the specs that go with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.specs import InputSpec, OutputSpec


@dataclass(frozen=True)
class Split:
    """Grey levels uint8 (N, C, H, W) and labels int64 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert self.images.ndim == 4, "images are (N, C, H, W)"
        assert self.images.dtype == np.uint8, "images are 8-bit"
        assert self.labels.shape == (len(self.images),), "one label an image"

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.int64]) -> Split:
        """The rows asked for, in that order."""
        return Split(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Dataset:
    """Train on `train`, choose on `validation`, measure on `test`.

    `calibration` is seen by neither training nor choice, so that its score profiles are those of fresh images.
    """

    name: str
    train: Split
    validation: Split
    calibration: Split
    test: Split
    input_spec: InputSpec
    output_spec: OutputSpec


def cut(split: Split, sizes: tuple[int, ...], seed: int) -> list[Split]:
    """Disjoint parts of the given sizes, by a permutation that is the same on every machine."""
    assert sum(sizes) == len(split), "the parts must add up to the whole"
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(split)).astype(np.int64)
    ends = np.cumsum(sizes)
    return [split.take(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
