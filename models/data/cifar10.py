"""CIFAR-10: Krizhevsky, "Learning multiple layers of features from tiny images", 2009; a JPEG-compressed copy.

Under `cifar10/cifar10_jpeg.npz`, each image a JPEG of quality 75: against the originals the mean error is 5.8 grey
levels. Accuracies on it are not strictly comparable with published ones: report them as "JPEG-compressed CIFAR-10".
"""

from __future__ import annotations

import io
import lzma
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.data.splits import Dataset, Split, cut
from models.errors import DatasetUnavailable
from models.specs import InputSpec, OutputSpec

FILE = "cifar10_jpeg.npz"
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZES = (42_000, 3_000, 5_000)  # train, validation, calibration: cut from the 50,000 training images
SEED = 50_000


def load(root: Path | None) -> Dataset:
    """42,000 training, 3,000 validation and 5,000 calibration images, and the 10,000 test images; RGB, 32x32.

    Raises DatasetUnavailable when `root` is None, or the file is missing or broken.
    """
    if root is None:
        reason = "cifar10 is not bundled: set SIGNET_DATA_DIR to the folder with cifar10/ in it"
        raise DatasetUnavailable("dataset", reason)
    path = root / "cifar10" / FILE
    try:
        with np.load(path, allow_pickle=False) as archive:
            whole, test = _split(archive, "train", 50_000), _split(archive, "test", 10_000)
    except FileNotFoundError:
        reason = f"cifar10/{FILE} is not there: set SIGNET_DATA_DIR to the folder with cifar10/ in it"
        raise DatasetUnavailable("dataset", reason) from None
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, lzma.LZMAError) as error:
        raise DatasetUnavailable("dataset", f"{FILE} cannot be read: {error}") from None
    train, validation, calibration = cut(whole, SIZES, SEED)
    spec = InputSpec(shape=(3, 32, 32), mode="RGB", mean=(0.491, 0.482, 0.447), std=(0.245, 0.243, 0.260))
    return Dataset("cifar10", train, validation, calibration, test, spec, OutputSpec(10, LABELS))


def _split(archive: np.lib.npyio.NpzFile, part: str, count: int) -> Split:
    streams, offsets, labels = (archive[f"{part}_{name}"] for name in ("jpeg", "offsets", "labels"))
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
