"""Labelled image sets with fixed splits, so that every figure is about the same images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.data import cifar10, digits, faces, fashion_mnist, gtsrb, mnist
from models.data.splits import Dataset, Split
from models.errors import DatasetUnavailable

__all__ = ["Dataset", "Split", "load", "names"]

_LOADERS: dict[str, Callable[[Path | None], Dataset]] = {
    "cifar10": cifar10.load,
    "digits": digits.load,
    "faces": faces.load,
    "fashion_mnist": fashion_mnist.load,
    "gtsrb": gtsrb.load,
    "mnist": mnist.load,
}


def names() -> list[str]:
    """The data sets that `load` knows."""
    return sorted(_LOADERS)


def load(name: str, root: Path | None = None) -> Dataset:
    """A data set by name; `root` is the folder that SIGNET_DATA_DIR names (the bundled digits need none).

    Raises DatasetUnavailable for an unknown name, and for files that are missing or broken.
    """
    if name not in _LOADERS:
        raise DatasetUnavailable("dataset", f"{name!r} is not known; there are {', '.join(names())}")
    return _LOADERS[name](root)
