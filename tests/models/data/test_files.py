from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data.files import archive, folder, member
from models.errors import DatasetUnavailable


def test_a_folder_is_asked_for() -> None:
    with pytest.raises(DatasetUnavailable, match="set SIGNET_DATA_DIR to the folder with signs/ in it"):
        folder(None, "signs")


class TestArchive:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = folder(tmp_path, "signs") / "signs.npz"
        path.parent.mkdir()
        np.savez_compressed(path, labels=np.arange(200, dtype=np.uint8))
        return path

    def refused(self, path: Path) -> str:
        with pytest.raises(DatasetUnavailable) as caught, archive(path) as opened:
            member(opened, "labels", (200,))
        return str(caught.value)

    def test_a_member_is_given(self, path: Path) -> None:
        with archive(path) as opened:
            assert member(opened, "labels", (200,)).tolist() == list(range(200))

    def test_a_missing_file_says_where_it_belongs(self, path: Path) -> None:
        path.unlink()
        assert "signs/signs.npz is not there: set SIGNET_DATA_DIR" in self.refused(path)

    def test_a_missing_member_or_another_shape_is_named(self, path: Path) -> None:
        np.savez(path, images=np.zeros(200, np.uint8))
        assert "labels" in self.refused(path)
        np.savez(path, labels=np.zeros(199, np.uint8))
        assert "labels is not 8-bit of shape (200,)" in self.refused(path)

    def test_one_array_is_no_archive(self, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.zeros(200, np.uint8))
        assert "not an .npz archive" in self.refused(path)

    def test_a_file_cut_short_is_to_be_replaced(self, path: Path) -> None:
        whole = path.read_bytes()
        for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            assert "put an intact copy in its place" in self.refused(path)

    def test_a_changed_byte_is_noticed(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        assert "put an intact copy in its place" in self.refused(path)

    def test_a_compression_that_is_not_known_is_refused(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        entry = content.index(b"PK\x01\x02")  # the member's entry in the archive's directory
        content[entry + 10] = 99
        path.write_bytes(content)
        assert "put an intact copy in its place" in self.refused(path)
