"""The files of data sets that are not bundled: found under one folder, or refused with a word on what to do."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from models.errors import DatasetUnavailable

# RuntimeError is what zipfile raises for members that it cannot unpack
BROKEN = (OSError, EOFError, ValueError, KeyError, RuntimeError, BadZipFile, LZMAError, struct.error, zlib.error)


def folder(root: Path | None, name: str) -> Path:
    """The data set's own folder; raises DatasetUnavailable when `root` is None."""
    if root is None:
        raise DatasetUnavailable("dataset", f"{name} is not bundled: {_remedy(name)}")
    return root / name


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns whatever a missing or broken file raises within the block into DatasetUnavailable."""
    try:
        yield
    except FileNotFoundError:
        remedy = _remedy(path.parent.name)
        raise DatasetUnavailable("dataset", f"{path.parent.name}/{path.name} is not there: {remedy}") from None
    except BROKEN as error:
        reason = f"{path.parent.name}/{path.name} cannot be read ({error}): put an intact copy in its place"
        raise DatasetUnavailable("dataset", reason) from None


@contextmanager
def archive(path: Path) -> Iterator[NpzFile]:
    """An .npz file, open within the block; raises DatasetUnavailable when it is missing or broken."""
    with reading(path), path.open("rb") as file:  # given a path, np.load leaves a broken archive open
        opened = np.load(file, allow_pickle=False)
        if not isinstance(opened, NpzFile):
            raise ValueError("not an .npz archive")
        with opened:
            yield opened


def member(opened: NpzFile, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An 8-bit array of the archive; ValueError when it has another shape or type."""
    array = opened[name]
    if array.shape != shape or array.dtype != np.uint8:
        raise ValueError(f"{name} is not 8-bit of shape {shape}")
    return np.asarray(array, dtype=np.uint8)


def _remedy(name: str) -> str:
    return f"set SIGNET_DATA_DIR to the folder with {name}/ in it"
