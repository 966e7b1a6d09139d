"""The 1,797 handwritten digits that scikit-learn bundles (UCI, Alpaydin and Kaynak, 1998), scaled to 28x28.

No download. The originals are 8x8 with 17 grey levels; bicubic scaling gives them the size of MNIST, so that one
network and one client fit both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from models.data.splits import Dataset, Split, cut
from models.specs import InputSpec, OutputSpec

SIZE = 28
SIZES = (1000, 97, 300, 400)  # train, validation, calibration, test
SEED = 1797


def load(root: Path | None = None) -> Dataset:
    """1,000 training, 97 validation, 300 calibration and 400 test images; `root` is not needed."""
    bunch = load_digits()
    images = np.stack([_scale(image) for image in bunch.images])[:, None]  # (1797, 1, 28, 28)
    whole = Split(images, bunch.target.astype(np.int64))
    train, validation, calibration, test = cut(whole, SIZES, SEED)
    spec = InputSpec(shape=(1, SIZE, SIZE), mode="L", mean=(0.3,), std=(0.35,))
    return Dataset("digits", train, validation, calibration, test, spec, OutputSpec.numbered(10))


def _scale(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(8, 8) values 0 to 16 -> (28, 28) grey levels."""
    grey = np.rint(image * (255 / 16)).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
