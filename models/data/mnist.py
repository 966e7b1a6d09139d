"""MNIST: LeCun, Cortes and Burges; the four original IDX files, gzip-compressed, under `mnist/`."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.files import folder, reading
from models.data.splits import Dataset, Split, cut
from models.specs import InputSpec, OutputSpec

SIZES = (30_000, 10_000, 20_000)  # train, validation, calibration: cut from the 60,000 training images
SEED = 60_000


def load(root: Path | None) -> Dataset:
    """30,000 training, 10,000 validation and 20,000 calibration images, and the 10,000 test images.

    Calibration is this large because the decoys' profiles are made from it: with fewer, gradient boosting tells
    them from genuine answers better (`models/README.md`); the network loses a tenth of a percent by it.

    Raises DatasetUnavailable when `root` is None, or a file is missing or broken.
    """
    spec = InputSpec(shape=(1, 28, 28), mode="L", mean=(0.1307,), std=(0.3081,))
    return Dataset("mnist", *splits(folder(root, "mnist")), spec, OutputSpec.numbered(10))


def splits(folder: Path) -> tuple[Split, Split, Split, Split]:
    """Train, validation, calibration and test from the four files; Fashion-MNIST has them too."""
    train, validation, calibration = cut(_split(folder, "train", 60_000), SIZES, SEED)
    return train, validation, calibration, _split(folder, "t10k", 10_000)


def _split(folder: Path, part: str, count: int) -> Split:
    images = _idx(folder / f"{part}-images-idx3-ubyte.gz", (count, 28, 28))
    labels = _idx(folder / f"{part}-labels-idx1-ubyte.gz", (count,))
    return Split(images[:, None], labels.astype(np.int64))


def _idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An IDX file: two zero bytes, type 8 (unsigned byte), number of dimensions, big-endian sizes, values."""
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    with reading(path):
        data = gzip.decompress(path.read_bytes())
        if data[: len(header)] != header or len(data) != len(header) + int(np.prod(shape)):
            raise ValueError(f"not the IDX file of shape {shape}")
    return np.frombuffer(data, dtype=np.uint8, offset=len(header)).reshape(shape).copy()  # torch wants it writable
