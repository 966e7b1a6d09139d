from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import data
from models.data import Dataset, Split, faces
from models.errors import DatasetUnavailable

LABELS = np.repeat(np.arange(40, dtype=np.uint8), 10)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """A file of the right form whose images are one grey each, 20 times their number among the person's."""
    greys = np.tile(np.arange(10, dtype=np.uint8) * 20, 40)
    return write(tmp_path, images=np.broadcast_to(greys[:, None, None], (400, 112, 92)), labels=LABELS)


def write(root: Path, **members: np.ndarray) -> Path:
    (root / "faces").mkdir(exist_ok=True)
    np.savez_compressed(root / "faces" / "orl_faces.npz", **members)
    return root


def splits(dataset: Dataset) -> tuple[Split, ...]:
    return dataset.train, dataset.validation, dataset.calibration, dataset.test


class TestFold:
    @pytest.mark.parametrize("index", range(5))
    def test_no_image_is_in_two_parts(self, flat: Path, index: int) -> None:
        parts = splits(faces.fold(flat, index))
        assert [len(part) for part in parts] == [240, 40, 40, 80]
        seen = {
            (int(label), int(image[0, 0, 0]))
            for part in parts
            for label, image in zip(part.labels, part.images, strict=True)
        }
        assert len(seen) == 400

    @pytest.mark.parametrize(("index", "test", "held"), [(0, [0, 1], [2, 3]), (4, [8, 9], [0, 1])])
    def test_the_next_fold_is_halved(self, flat: Path, index: int, test: list[int], held: list[int]) -> None:
        _, *parts = splits(faces.fold(flat, index))
        numbers = [(np.unique(part.images) // 20).tolist() for part in parts]
        assert numbers == [held[:1], held[1:], test]

    def test_every_person_is_in_every_part(self, flat: Path) -> None:
        for part, each in zip(splits(faces.fold(flat, 2)), (6, 1, 1, 2), strict=True):
            assert np.bincount(part.labels).tolist() == [each] * 40
            assert part.labels.dtype == np.int64

    def test_folds_have_names_of_their_own(self, flat: Path) -> None:
        assert len({faces.fold(flat, index).name for index in range(5)}) == 5

    @pytest.mark.parametrize("index", [-1, 5])
    def test_another_index_is_refused(self, flat: Path, index: int) -> None:
        with pytest.raises(DatasetUnavailable, match="folds 0 to 4"):
            faces.fold(flat, index)


class TestLoad:
    def test_each_published_image_is_tested_once(self, data_root: Path) -> None:
        tested = [image.tobytes() for index in range(5) for image in faces.fold(data_root, index).test.images]
        assert len(set(tested)) == len(tested) == 400

    def test_images_are_8_bit_and_64_by_64(self, data_root: Path) -> None:
        dataset = data.load("faces", data_root)
        assert dataset.train.images.dtype == np.uint8
        assert dataset.train.images.shape == (240, 1, 64, 64)
        assert dataset.output_spec.labels[39] == "s40"

    def test_the_constants_are_the_training_part_s(self, data_root: Path) -> None:
        for index in range(5):
            dataset = faces.fold(data_root, index)
            values = dataset.train.images / 255
            assert abs(values.mean() - dataset.input_spec.mean[0]) < (0.001 if index == 0 else 0.01)
            assert abs(values.std() - dataset.input_spec.std[0]) < (0.001 if index == 0 else 0.01)

    def test_it_is_the_first_fold_every_time(self, data_root: Path) -> None:
        for one, other in zip(splits(data.load("faces", data_root)), splits(faces.fold(data_root, 0)), strict=True):
            assert np.array_equal(one.images, other.images)
            assert np.array_equal(one.labels, other.labels)

    def test_without_a_folder_the_variable_is_named(self, tmp_path: Path) -> None:
        for root in (None, tmp_path):
            with pytest.raises(DatasetUnavailable, match=r"SIGNET_DATA_DIR .* faces/"):
                data.load("faces", root)

    @pytest.mark.parametrize(
        ("images", "labels", "reason"),
        [
            (np.zeros((400, 64, 64), np.uint8), LABELS, "images is not 8-bit"),
            (np.zeros((400, 112, 92), np.float32), LABELS, "images is not 8-bit"),
            (np.zeros((400, 112, 92), np.uint8), LABELS[:-1], "labels is not 8-bit"),
            (np.zeros((400, 112, 92), np.uint8), LABELS[::-1], "order of the persons"),
        ],
    )
    def test_a_file_of_another_form_is_refused(
        self, tmp_path: Path, images: np.ndarray, labels: np.ndarray, reason: str
    ) -> None:
        with pytest.raises(DatasetUnavailable, match=f"orl_faces.npz cannot be read .*{reason}"):
            data.load("faces", write(tmp_path, images=images, labels=labels))
