"""Any NPY header and any nested JSON; and one picture in every spelling."""

import io
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from models.specs import InputSpec
from service.inputs import pictures
from service.inputs.tensors import decode_json_tensor, decode_npy
from tests.service.inputs import builders as made
from tests.service.inputs.anything import COLOUR, GREY, NESTED, SPECS, answers_or_refuses, harmless, quick

HEADERS = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=80),
    st.text("{}()[]'\"\\:,-+_ \nLFTdescrfortanhpue0123456789<|u", max_size=80),
    st.builds(
        "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}\n".format,
        st.sampled_from(
            [
                "'|u1'",
                "'<f4'",
                "'<f8'",
                "'>f4'",
                "'|O'",
                "'<U4'",
                "'u1'",
                "'<f2'",
                "[('a', '<f4')]",
                "('<f4', (2,))",
                "1",
            ]
        ),
        st.sampled_from(["True", "False", "0", "None"]),
        st.one_of(
            st.lists(st.integers(-2, 2**70), max_size=6).map(lambda sizes: str(tuple(sizes))),
            st.sampled_from(
                ["()", "(28)", "(28,)", "(28, 28)", "(1, 28, 28,)", "(28L, 28)", "(0, 784)", "[28, 28]", "((28,), 28)"]
            ),
        ),
    ),
)


class TestArrays:
    @quick
    @given(HEADERS, st.one_of(st.just(made.GREY.tobytes()), st.binary(max_size=64)), SPECS)
    def test_any_header(self, header: str, body: bytes, spec: InputSpec) -> None:
        data = made.npy_with_header(header, body)
        answers_or_refuses(lambda: decode_npy(data, spec, "images[0]"), spec)

    @quick
    @given(st.binary(max_size=100), SPECS)
    def test_any_bytes_behind_the_magic(self, data: bytes, spec: InputSpec) -> None:
        answers_or_refuses(lambda: decode_npy(b"\x93NUMPY" + data, spec, "images[0]"), spec)

    @quick
    @given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=5, max_side=6)), SPECS)
    def test_any_array(self, array: NDArray[Any], spec: InputSpec) -> None:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        answers_or_refuses(lambda: decode_npy(file.getvalue(), spec, "images[0]"), spec)

    @pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (1, 1, 28, 28), (3, 28, 28), (3, 1, 28, 28)])
    @pytest.mark.parametrize("dtype", ["u1", "<f4", "<f8"])
    def test_whatever_numpy_saves_of_a_plain_array_is_read(self, shape: tuple[int, ...], dtype: str) -> None:
        array = np.zeros(shape, dtype)
        file = io.BytesIO()
        np.save(file, array)
        harmless(decode_npy(file.getvalue(), GREY, "images[0]"), GREY)


class TestJson:
    @quick
    @given(NESTED, SPECS)
    @example([[0.5] * 28] * 28, GREY)
    @example([[True] * 28] * 28, GREY)
    @example([10**400], GREY)
    def test_any_nesting(self, value: Any, spec: InputSpec) -> None:
        answers_or_refuses(lambda: decode_json_tensor(value, spec, "inputs"), spec)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(GREY, id="grey"),
        pytest.param(COLOUR, id="colour from -1 to 1"),
        pytest.param(InputSpec(shape=(3, 6, 5), mode="RGB", value_range=(0.0, 255.0)), id="colour to 255"),
        pytest.param(InputSpec(shape=(1, 6, 5), value_range=(-0.42, 2.82)), id="a crooked range"),
    ],
)
class TestOnePictureInEverySpelling:
    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1))
    def test_the_values_are_equal_bit_by_bit(self, spec: InputSpec, seed: int) -> None:
        grid = np.random.default_rng(seed).integers(0, 256, spec.shape, dtype=np.uint8)
        values = spec.from_grid(grid[None])
        pixels = grid[0] if spec.mode == "L" else np.ascontiguousarray(grid.transpose(1, 2, 0))
        png = made.saved(pixels)
        spellings = {
            "PNG": pictures.decode_picture(png, spec, "", 10_000),
            "PNG, written again": pictures.decode_picture(rewritten(png), spec, "", 10_000),
            "NPY of grey levels": decode_npy(made.npy(grid), spec, ""),
            "NPY of grey levels, as a picture lies": decode_npy(made.npy(pixels), spec, ""),
            "NPY of float32": decode_npy(made.npy(values), spec, ""),
            "NPY of float64": decode_npy(made.npy(values[0].astype(np.float64)), spec, ""),
            "JSON": decode_json_tensor(orjson.loads(orjson.dumps(values.tolist())), spec, ""),
            "JSON, shortest form": decode_json_tensor(
                orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)), spec, ""
            ),
        }
        for name, spelled in spellings.items():
            assert spelled.tobytes() == values.tobytes(), name


def rewritten(png: bytes) -> bytes:
    """The same pixels, packed otherwise."""
    with Image.open(io.BytesIO(png)) as image:
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1, dpi=(300, 300))
    return file.getvalue()
