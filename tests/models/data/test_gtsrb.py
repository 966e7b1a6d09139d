from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import data
from models.data import Dataset, Split
from models.data.gtsrb import LABELS, cut_by_track
from models.errors import DatasetUnavailable

Signs = set[tuple[int, int]]  # class and track


@pytest.fixture(scope="module")
def dataset(data_root: Path) -> Dataset:
    return data.load("gtsrb", data_root)


class TestLoad:
    def test_parts_are_the_file_s_images(self, dataset: Dataset) -> None:
        training = (dataset.train, dataset.validation, dataset.calibration)
        assert [len(split) for split in (*training, dataset.test)] == [10_129, 1_470, 1_470, 12_630]
        counts = sum(np.bincount(split.labels, minlength=43) for split in training)
        assert counts[[0, 2, 33, 42]].tolist() == [70, 750, 229, 80]
        assert np.bincount(dataset.test.labels)[[0, 2, 33, 42]].tolist() == [60, 750, 210, 90]
        images = {image.tobytes() for split in (*training, dataset.test) for image in split.images}
        assert len(images) == 13_069 + 12_630

    def test_no_track_is_in_two_parts(self, dataset: Dataset, data_root: Path) -> None:
        with np.load(data_root / "gtsrb" / "gtsrb_32x32.npz") as file:
            pixels = file["train_images"].transpose(0, 3, 1, 2)
            tracks = {image.tobytes(): int(track) for image, track in zip(pixels, file["train_tracks"], strict=True)}
        signs: list[Signs] = [
            {(int(label), tracks[image.tobytes()]) for image, label in zip(split.images, split.labels, strict=True)}
            for split in (dataset.train, dataset.validation, dataset.calibration)
        ]
        assert [len(part) for part in signs] == [1013, 147, 147]
        assert len(set.union(*signs)) == 1307

    def test_every_class_is_in_every_part(self, dataset: Dataset) -> None:
        for split in (dataset.train, dataset.validation, dataset.calibration, dataset.test):
            assert split.images.dtype == np.uint8
            assert split.images.shape[1:] == (3, 32, 32)
            assert split.labels.dtype == np.int64
            assert np.unique(split.labels).tolist() == list(range(43))

    def test_the_constants_are_the_training_part_s(self, dataset: Dataset) -> None:
        values = dataset.train.images / 255
        assert np.allclose(values.mean(axis=(0, 2, 3)), dataset.input_spec.mean, atol=1e-3)
        assert np.allclose(values.std(axis=(0, 2, 3)), dataset.input_spec.std, atol=1e-3)

    def test_it_is_the_same_every_time(self, dataset: Dataset, data_root: Path) -> None:
        again = data.load("gtsrb", data_root)
        for part in ("train", "validation", "calibration", "test"):
            one, other = getattr(dataset, part), getattr(again, part)
            assert np.array_equal(one.images, other.images)
            assert np.array_equal(one.labels, other.labels)

    def test_classes_have_their_names(self) -> None:
        assert len(set(LABELS)) == 43
        assert [LABELS[label] for label in (0, 14, 33)] == ["speed limit 20", "stop", "turn right ahead"]

    def test_without_a_folder_the_variable_is_named(self, tmp_path: Path) -> None:
        for root in (None, tmp_path):
            with pytest.raises(DatasetUnavailable, match=r"SIGNET_DATA_DIR .* gtsrb/"):
                data.load("gtsrb", root)

    def test_a_broken_file_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "gtsrb" / "gtsrb_32x32.npz"
        path.parent.mkdir()
        path.write_bytes(b"no archive")
        with pytest.raises(DatasetUnavailable, match="gtsrb_32x32"):
            data.load("gtsrb", tmp_path)
        np.savez(path, train_images=np.zeros((2, 32, 32, 3), np.uint8))
        with pytest.raises(DatasetUnavailable, match="train_images is not 8-bit of shape"):
            data.load("gtsrb", tmp_path)
        images, labels = np.zeros((13_069, 32, 32, 3), np.uint8), np.full(13_069, 43, np.uint8)
        np.savez_compressed(path, train_images=images, train_labels=labels)
        with pytest.raises(DatasetUnavailable, match="label beyond 42"):
            data.load("gtsrb", tmp_path)


class TestCutByTrack:
    """Without the file: three classes of 3, 7 and 24 tracks, numbered from 0 in each; a pixel bears the track."""

    def parts(self) -> list[Split]:
        counts = {0: 3, 1: 7, 2: 24}
        tracks = np.concatenate([np.repeat(np.arange(count), 4) for count in counts.values()]).astype(np.uint8)
        labels = np.repeat(list(counts), [4 * count for count in counts.values()])
        return cut_by_track(Split(tracks[:, None, None, None], labels), tracks)

    def signs(self, split: Split) -> Signs:
        return set(zip(split.labels.tolist(), split.images.ravel().tolist(), strict=True))

    def test_a_tenth_of_each_class_s_tracks_rounded_up(self) -> None:
        train, validation, calibration = (self.signs(part) for part in self.parts())
        for part in (validation, calibration):
            assert np.bincount([label for label, _ in part]).tolist() == [1, 1, 3]
        assert np.bincount([label for label, _ in train]).tolist() == [1, 5, 18]
        assert len(train | validation | calibration) == 34

    def test_frames_stay_together(self) -> None:
        parts = self.parts()
        assert [len(part) for part in parts] == [4 * len(self.signs(part)) for part in parts]
        assert sum(len(part) for part in parts) == 4 * 34

    def test_parts_are_shuffled(self) -> None:
        assert (np.diff(self.parts()[0].labels) < 0).any()
