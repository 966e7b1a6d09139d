"""CIFAR-10: Krizhevsky, "Learning multiple layers of features from tiny images", 2009; a JPEG-compressed copy.

Under `cifar10/cifar10_jpeg.npz`, each image a JPEG of quality 75: against the originals the mean error is 5.8 grey
levels. Accuracies on it are not strictly comparable with published ones: report them as "JPEG-compressed CIFAR-10".
"""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from PIL import Image

from models.data.files import archive, folder
from models.data.splits import Dataset, Split, cut
from models.specs import InputSpec, OutputSpec

FILE = "cifar10_jpeg.npz"
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZES = (42_000, 3_000, 5_000)  # train, validation, calibration: cut from the 50,000 training images
SEED = 50_000


def load(root: Path | None) -> Dataset:
    """42,000 training, 3,000 validation and 5,000 calibration images, and the 10,000 test images; RGB, 32x32.

    Raises DatasetUnavailable when `root` is None, or the file is missing or broken.
    """
    with archive(folder(root, "cifar10") / FILE) as opened:
        whole, test = _split(opened, "train", 50_000), _split(opened, "test", 10_000)
    train, validation, calibration = cut(whole, SIZES, SEED)
    spec = InputSpec(shape=(3, 32, 32), mode="RGB", mean=(0.491, 0.482, 0.447), std=(0.245, 0.243, 0.260))
    return Dataset("cifar10", train, validation, calibration, test, spec, OutputSpec(10, LABELS))


def _split(opened: NpzFile, part: str, count: int) -> Split:
    streams, offsets, labels = (opened[f"{part}_{name}"] for name in ("jpeg", "offsets", "labels"))
    if offsets.shape != (count + 1,) or labels.shape != (count,):
        raise ValueError(f"{part} does not hold {count} images")
    data = streams.tobytes()
    images = np.stack([_decode(data[start:end]) for start, end in pairwise(offsets)])
    return Split(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.astype(np.int64))


def _decode(stream: bytes) -> NDArray[np.uint8]:
    """One JPEG -> (32, 32, 3)."""
    image = np.asarray(Image.open(io.BytesIO(stream)).convert("RGB"))
    if image.shape != (32, 32, 3):
        raise ValueError("an image is not 32x32")
    return image
