"""Fashion-MNIST: Xiao, Rasul and Vollgraf, arXiv:1708.07747; the four original IDX files under `fashion_mnist/`."""

from __future__ import annotations

from pathlib import Path

from models.data import mnist
from models.data.files import folder
from models.data.splits import Dataset
from models.specs import InputSpec, OutputSpec

LABELS = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def load(root: Path | None) -> Dataset:
    """30,000 training, 10,000 validation and 20,000 calibration images, and the 10,000 test images, as of MNIST.

    Raises DatasetUnavailable when `root` is None, or a file is missing or broken.
    """
    # mean and deviation over the training part, without validation and calibration
    spec = InputSpec(shape=(1, 28, 28), mode="L", mean=(0.286,), std=(0.353,))
    return Dataset("fashion_mnist", *mnist.splits(folder(root, "fashion_mnist")), spec, OutputSpec(10, LABELS))
