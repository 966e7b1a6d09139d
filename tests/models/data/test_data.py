from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from models import data
from models.data import Dataset
from models.errors import DatasetUnavailable


def parts(dataset: Dataset) -> list[bytes]:
    splits = (dataset.train, dataset.validation, dataset.calibration, dataset.test)
    return [image.tobytes() for split in splits for image in split.images]


class TestDigits:
    def test_splits_hold_every_image_once(self) -> None:
        dataset = data.load("digits")
        sizes = [len(split) for split in (dataset.train, dataset.validation, dataset.calibration, dataset.test)]
        assert sizes == [1000, 97, 300, 400]
        assert len(set(parts(dataset))) == 1797

    def test_images_are_8_bit_and_28_by_28_and_use_the_whole_range(self) -> None:
        images = data.load("digits").train.images
        assert images.dtype == np.uint8
        assert images.shape[1:] == (1, 28, 28)
        assert (images.min(), images.max()) == (0, 255)

    def test_the_split_is_the_same_every_time(self) -> None:
        assert parts(data.load("digits")) == parts(data.load("digits"))

    def test_every_class_is_in_the_calibration_set(self) -> None:
        assert np.bincount(data.load("digits").calibration.labels, minlength=10).min() >= 20


class TestMNIST:
    def test_splits_are_the_published_images(self, data_root: Path) -> None:
        dataset = data.load("mnist", data_root)
        training = (dataset.train, dataset.validation, dataset.calibration)
        assert sum(len(split) for split in training) == 60_000
        assert len(dataset.test) == 10_000
        counts = sum(np.bincount(split.labels) for split in training)
        assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert np.bincount(dataset.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

    def test_without_a_folder_the_variable_is_named(self, tmp_path: Path) -> None:
        for root in (None, tmp_path):
            with pytest.raises(DatasetUnavailable, match="SIGNET_DATA_DIR"):
                data.load("mnist", root)

    @pytest.mark.parametrize(
        "content",
        [b"not gzip", gzip.compress(b"not IDX"), gzip.compress(b"x" * 99)[:-3]],
        ids=["not gzip", "not IDX", "cut off"],
    )
    def test_a_broken_file_is_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "mnist").mkdir()
        (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(DatasetUnavailable, match="train-images"):
            data.load("mnist", tmp_path)


class TestFashionMNIST:
    def test_splits_are_the_published_images(self, data_root: Path) -> None:
        dataset = data.load("fashion_mnist", data_root)
        training = (dataset.train, dataset.validation, dataset.calibration)
        assert [len(split) for split in training] == [30_000, 10_000, 20_000]
        assert sum(np.bincount(split.labels) for split in training).tolist() == [6000] * 10
        assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
        assert dataset.output_spec.labels[9] == "ankle boot"

    def test_without_its_own_folder_it_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "mnist").mkdir()
        for root in (None, tmp_path):
            with pytest.raises(DatasetUnavailable, match=r"SIGNET_DATA_DIR .* fashion_mnist/"):
                data.load("fashion_mnist", root)


class TestCIFAR10:
    def test_splits_hold_every_image_once(self, data_root: Path) -> None:
        dataset = data.load("cifar10", data_root)
        training = (dataset.train, dataset.validation, dataset.calibration)
        assert [len(split) for split in training] == [42_000, 3_000, 5_000]
        assert len(set(parts(dataset))) == 60_000
        assert sum(np.bincount(split.labels) for split in training).tolist() == [5000] * 10
        assert np.bincount(dataset.test.labels).tolist() == [1000] * 10

    def test_without_a_folder_the_variable_is_named(self, tmp_path: Path) -> None:
        for root in (None, tmp_path):
            with pytest.raises(DatasetUnavailable, match="SIGNET_DATA_DIR"):
                data.load("cifar10", root)

    def test_a_broken_file_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "cifar10" / "cifar10_jpeg.npz"
        path.parent.mkdir()
        path.write_bytes(b"no archive")
        with pytest.raises(DatasetUnavailable, match="cifar10_jpeg"):
            data.load("cifar10", tmp_path)
        empty = {f"{part}_{name}": np.zeros(1) for part in ("train", "test") for name in ("jpeg", "offsets", "labels")}
        np.savez(path, **empty)
        with pytest.raises(DatasetUnavailable, match="50000 images"):
            data.load("cifar10", tmp_path)


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(DatasetUnavailable, match="cifar10, digits, faces, fashion_mnist, gtsrb, mnist"):
        data.load("imagenet")
