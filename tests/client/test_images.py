"""What is handed in reaches the wire unchanged, without the name of the file it came from."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from signet_client.errors import InvalidInput
from signet_client.images import encode, encode_many


def written(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PICTURE = Image.fromarray(np.arange(28 * 28, dtype=np.uint8).reshape(28, 28))
PNG, JPEG = written(PICTURE, "PNG"), written(PICTURE, "JPEG")


class TestFiles:
    @pytest.mark.parametrize(("data", "suffix", "media_type"), [(PNG, "png", "image/png"), (JPEG, "jpg", "image/jpeg")])
    def test_go_as_they_are_under_a_name_made_up(
        self, tmp_path: Path, data: bytes, suffix: str, media_type: str
    ) -> None:
        path = tmp_path / "jane-doe-1971.dat"
        path.write_bytes(data)
        for given_as in (path, str(path), data, bytearray(data), memoryview(data)):
            assert encode(given_as, 5) == (f"5.{suffix}", data, media_type)

    def test_npy_is_told_by_its_first_bytes(self) -> None:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros((28, 28), np.uint8))
        assert encode(buffer.getvalue()).media_type == "application/x-npy"

    @pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PN", b"\x80\x04pickle"])
    def test_of_another_kind_are_refused(self, data: bytes) -> None:
        with pytest.raises(InvalidInput) as caught:
            encode(data, 2)
        assert caught.value.field == "images[2]"

    def test_that_are_missing_are_missing(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            encode(tmp_path / "nothing.png")


class TestPillowImages:
    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
    def test_keep_their_mode_and_pixels(self, mode: str) -> None:
        image = PICTURE.convert(mode)
        filename, data, media_type = encode(image)
        back = Image.open(io.BytesIO(data))
        assert (filename, media_type, back.mode) == ("0.png", "image/png", mode)
        assert back.tobytes() == image.tobytes()

    def test_leave_their_metadata_behind(self) -> None:
        image = PICTURE.convert("RGB")
        exif = image.getexif()
        exif[0x010E] = "Jane Doe, 1971"
        tagged = Image.open(io.BytesIO(written(image, "JPEG", exif=exif, icc_profile=b"a profile")))
        data = encode(tagged).data
        assert b"Jane" not in data
        assert b"eXIf" not in data
        assert b"iCCP" not in data

    def test_that_lie_on_their_side_are_refused_rather_than_sent_unturned(self) -> None:
        exif = PICTURE.getexif()
        exif[0x0112] = 6
        turned = Image.open(io.BytesIO(written(PICTURE, "JPEG", exif=exif)))
        with pytest.raises(InvalidInput, match="exif_transpose"):
            encode(turned)

    @pytest.mark.parametrize("mode", ["CMYK", "F", "YCbCr", "HSV"])
    def test_of_a_mode_that_png_lacks_are_refused(self, mode: str) -> None:
        with pytest.raises(InvalidInput, match=mode):
            encode(PICTURE.convert("RGB").convert(mode) if mode != "F" else PICTURE.convert("F"))


def loaded(data: bytes) -> Any:
    return np.load(io.BytesIO(data), allow_pickle=False)


class TestArrays:
    @given(
        npst.arrays(
            st.sampled_from([np.dtype("u1"), np.dtype("<f4"), np.dtype(">f4")]),
            npst.array_shapes(min_dims=2, max_dims=3, max_side=6),
        )
    )
    def test_come_out_as_little_endian_c_order_npy_bit_for_bit(self, array: np.ndarray[Any, Any]) -> None:
        for given_as in (array, np.asfortranarray(array), array[::-1][::-1]):
            filename, data, media_type = encode(given_as)
            back = loaded(data)
            assert (filename, media_type) == ("0.npy", "application/x-npy")
            assert back.dtype.str in ("|u1", "<f4")
            assert back.flags.c_contiguous
            assert back.shape == array.shape
            assert back.tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()

    def test_of_another_library_are_asked_for_theirs(self) -> None:
        class Tensor:
            def __array__(self, *args: Any, **kwargs: Any) -> Any:
                return np.ones((1, 4, 4), np.float32)

        class Memory:
            def __init__(self) -> None:
                self.pixels = np.ones((4, 4), np.uint8)
                self.__array_interface__ = self.pixels.__array_interface__

        assert loaded(encode(Tensor()).data).shape == (1, 4, 4)
        assert loaded(encode(Memory()).data).dtype == np.uint8

    @pytest.mark.parametrize("dtype", ["f8", "i8", "i1", "?", "c8", "f2", "O", "U3"])
    def test_of_another_type_are_refused_rather_than_converted(self, dtype: str) -> None:
        with pytest.raises(InvalidInput, match="dtype"):
            encode(np.zeros((4, 4), dtype))

    @pytest.mark.parametrize("shape", [(), (16,), (2, 1, 4, 4)])
    def test_of_another_rank_are_refused_and_a_batch_is_told_how(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(InvalidInput, match=r"list\(batch\)"):
            encode(np.zeros(shape, np.uint8))

    def test_that_cannot_be_had_are_refused(self) -> None:
        class OnTheDevice:
            def __array__(self, *args: Any, **kwargs: Any) -> Any:
                raise TypeError("can't convert a device tensor")

        with pytest.raises(InvalidInput, match="device tensor"):
            encode(OnTheDevice())

    def test_without_numpy_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Memory:
            __array_interface__ = PICTURE.__array_interface__

        monkeypatch.setitem(sys.modules, "numpy", None)
        with pytest.raises(InvalidInput, match="pip install numpy"):
            encode(Memory())


class TestEncodeMany:
    def test_a_list_or_a_tuple_is_many_and_numbered(self) -> None:
        for given_as in ([PNG, JPEG], (PNG, JPEG)):
            images, many = encode_many(given_as)
            assert many
            assert [image.filename for image in images] == ["0.png", "1.jpg"]

    def test_one_is_one(self) -> None:
        images, many = encode_many(PNG)
        assert not many
        assert len(images) == 1

    def test_the_one_at_fault_is_named(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            encode_many([PNG, PNG, b"GIF89a"])
        assert caught.value.field == "images[2]"

    def test_none_are_refused(self) -> None:
        with pytest.raises(InvalidInput, match="images: is empty"):
            encode_many([])

    @pytest.mark.parametrize("thing", [None, 7, object(), {"image": PNG}])
    def test_anything_else_is_refused_by_its_type(self, thing: Any) -> None:
        with pytest.raises(InvalidInput, match=type(thing).__name__):
            encode(thing)
