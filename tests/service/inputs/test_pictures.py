"""Any bytes as a picture; sizes, interlacing, limits."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.specs import InputSpec
from service.errors import InvalidInput, ServiceError
from service.inputs import pictures
from tests.service.inputs import builders as made
from tests.service.inputs.anything import FITTED, GREY, SPECS, TENSOR, answers_or_refuses, damaged, harmless, quick

CHUNKS = st.builds(
    made.chunk,
    st.sampled_from(
        [b"tRNS", b"gAMA", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"acTL", b"fcTL", b"PLTE", b"IHDR", b"IDAT"]
    ),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"Raw profile type exif\0\n\n\nzz", b'XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation="9']),
    ),
)


class TestPictures:
    @quick
    @given(st.one_of(st.binary(max_size=200), damaged()), SPECS)
    def test_any_bytes(self, data: bytes, spec: InputSpec) -> None:
        answers_or_refuses(lambda: pictures.decode_picture(data, spec, "images[0]", 10_000), spec)

    @quick
    @given(
        st.lists(CHUNKS, max_size=3),
        st.lists(CHUNKS, max_size=2),
        st.sampled_from([0, 2, 3, 4, 6]),
        st.sampled_from([1, 2, 4, 8, 16]),
    )
    def test_any_chunks_in_any_place(self, before: list[bytes], after: list[bytes], colour: int, depth: int) -> None:
        data = made.raw_png(colour=colour, depth=depth, before=b"".join(before), after=b"".join(after))
        answers_or_refuses(lambda: pictures.decode_picture(data, GREY, "images[0]", 10_000), GREY)

    @quick
    @given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.binary(min_size=4, max_size=4))
    def test_any_size_is_decoded_as_pillow_shows_it(self, height: int, width: int, channels: int, seed: bytes) -> None:
        rng = np.random.default_rng(list(seed))
        grid = rng.integers(0, 256, (channels, height, width), dtype=np.uint8)
        spec = InputSpec(shape=(channels, height, width), mode="L" if channels == 1 else "RGB")
        pixels = grid[0] if channels == 1 else grid.transpose(1, 2, 0)
        values = pictures.decode_picture(made.saved(pixels), spec, "images[0]", 10_000)
        assert np.array_equal(spec.to_grid(values), grid[None])

    def test_an_interlaced_picture_is_read_and_a_short_one_is_not(self) -> None:
        # Adam7 by hand, 3 columns and 3 rows: passes of 1, 0, 0, 2, 2, 3 and 3 pixels.
        rows = [b"\0\1", b"\0\2", b"\0\3\4", b"\0\5", b"\0\6", b"\0\7\x08\x09"]
        spec = InputSpec(shape=(1, 3, 3))
        for count, complete in ((6, True), (5, False)):
            data = interlaced(b"".join(rows[:count]))
            if complete:
                values = pictures.decode_picture(data, spec, "images[0]", 100)
                assert spec.to_grid(values).tolist() == [[[[1, 5, 2], [7, 8, 9], [3, 6, 4]]]]
            else:
                with pytest.raises(InvalidInput, match="truncated"):
                    pictures.decode_picture(data, spec, "images[0]", 100)

    def test_the_largest_picture_is_measured_before_it_is_decoded(self) -> None:
        square = made.saved(np.zeros((100, 100, 3), np.uint8))
        harmless(pictures.decode_picture(square, FITTED, "images[0]", 10_000), FITTED)
        with pytest.raises(InvalidInput, match="at most 9999 are decoded"):
            pictures.decode_picture(square, FITTED, "images[0]", 9_999)

    def test_a_model_of_tensors_takes_no_pictures(self) -> None:
        with pytest.raises(ServiceError) as caught:
            pictures.decode_picture(made.saved(), TENSOR, "images[0]", 10_000)
        assert caught.value.status == 415


def interlaced(rows: bytes) -> bytes:
    """A grey 3 x 3 PNG in seven passes."""
    header = struct.pack(">IIBBBBB", 3, 3, 8, 0, 0, 0, 1)
    parts = (made.chunk(b"IHDR", header), made.chunk(b"IDAT", zlib.compress(rows)), made.chunk(b"IEND", b""))
    return made.PNG_SIGNATURE + b"".join(parts)
