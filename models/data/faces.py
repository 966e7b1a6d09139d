"""ORL faces: Samaria and Harter, "Parameterisation of a stochastic model for human face identification", WACV 1994.

Under `faces/orl_faces.npz`: ten grey images, 112 high and 92 wide, of each of 40 persons, in the order of the persons
and of their images. There is no official split and there are few images, so there are five fixed folds. The set stands
in for the PubFig of the DSN paper (13,838 colour images), whose accuracies are not those of this one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.data.files import archive, folder, member
from models.data.splits import Dataset, Split
from models.errors import DatasetUnavailable
from models.specs import InputSpec, OutputSpec

FILE = "orl_faces.npz"
PERSONS, EACH = 40, 10  # persons, images of each
FOLDS = 5
SIZE = 64


def load(root: Path | None) -> Dataset:
    """The first fold."""
    return fold(root, 0)


def fold(root: Path | None, index: int) -> Dataset:
    """240 training, 40 validation, 40 calibration and 80 test images of the 40 persons; `index` from 0 to 4.

    Fold i is the images 2i + 1 and 2i + 2 of each person: neighbours are the most alike, so they go together. The fold
    asked for is the test. Of the next one (after the last, the first) one image of each person is for validation and
    the other for calibration; the rest is for training. Over the five, each image is tested once.

    Raises DatasetUnavailable for another index, when `root` is None, or when the file is missing or broken.
    """
    if index not in range(FOLDS):
        raise DatasetUnavailable("dataset", f"faces has folds 0 to {FOLDS - 1}, not {index}")
    whole = _read(folder(root, "faces") / FILE)
    number = np.arange(PERSONS * EACH) % EACH  # of the image among its person's, from 0
    held = 2 * ((index + 1) % FOLDS)
    masks = (number // 2 == index, number == held, number == held + 1)
    test, validation, calibration = (whole.take(np.flatnonzero(mask)) for mask in masks)
    train = whole.take(np.flatnonzero(~np.logical_or.reduce(masks)))
    # mean and deviation over the training part of fold 0; those of the others differ by less than a hundredth
    spec = InputSpec(shape=(1, SIZE, SIZE), mode="L", mean=(0.444,), std=(0.195,))
    persons = OutputSpec(PERSONS, tuple(f"s{person + 1}" for person in range(PERSONS)))
    # a fold has its own name: a run killed on one must not resume on another, whose test images it has seen
    return Dataset(f"faces-{index}", train, validation, calibration, test, spec, persons)


def _read(path: Path) -> Split:
    with archive(path) as opened:
        images = member(opened, "images", (PERSONS * EACH, 112, 92))
        labels = member(opened, "labels", (PERSONS * EACH,)).astype(np.int64)
        if not np.array_equal(labels, np.repeat(np.arange(PERSONS), EACH)):
            raise ValueError("labels are not in the order of the persons")
    return Split(np.stack([_scale(image) for image in images])[:, None], labels)


def _scale(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(112, 92) -> (64, 64) by bicubic scaling, whose kernel Pillow widens as it shrinks; the whole face, less tall."""
    return np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
