"""Arrays, as NPY bytes or JSON numbers, to raw-range values. uint8 means levels of the 8-bit grid, as in a PNG."""

import math
import re
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.specs import InputSpec
from service.errors import InvalidInput

Floats = NDArray[np.float32]
NPY_SIGNATURE = b"\x93NUMPY"
_MAX_HEADER = 1024
_MAX_DIMENSIONS = 4
# What numpy writes of a plain array. Its own reader evaluates the header as Python, warns, and fails in many ways.
_HEADER = re.compile(
    rb"\{'descr': ?'([!-&(-\[\]-~]{2,16})', ?'fortran_order': ?(True|False), ?"
    rb"'shape': ?\(((?:[0-9]{1,18}, ?)*(?:[0-9]{1,18})?)\),? ?\} *\n?"
)
_DTYPES: dict[str, np.dtype[Any]] = {"|u1": np.dtype("u1"), "<f4": np.dtype("<f4"), "<f8": np.dtype("<f8")}


def decode_npy(data: bytes, spec: InputSpec, field: str) -> Floats:
    """One NPY array to raw-range values, (N, C, H, W).

    Only one spelling is taken, little-endian and row-major, so that no two files mean the same array.

    Raises:
        InvalidInput: not NPY 1.0, other dtype, order or length, wrong shape, not finite, out of range.
    """
    if data[6:8] != b"\x01\x00":
        raise InvalidInput(field, "NPY version 1.0 is taken")
    start = 10 + int.from_bytes(data[8:10], "little")
    header = _HEADER.fullmatch(data[10 : min(start, 10 + _MAX_HEADER)])
    if header is None or start > len(data):
        raise InvalidInput(field, "the NPY header cannot be read; send what numpy.save writes of a plain array")
    descr, order, sizes = (group.decode() for group in header.groups())
    dtype = _DTYPES.get(descr)
    if dtype is None:
        raise InvalidInput(field, f"dtype {descr}; send uint8, or little-endian float32 or float64")
    if order == "True":
        raise InvalidInput(field, "column-major (Fortran) order; send row-major: numpy.ascontiguousarray(x)")
    shape, body = tuple(int(size) for size in sizes.split(",") if size.strip()), data[start:]
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise InvalidInput(field, f"the header says {shape} of {dtype.str}, but {len(body)} bytes follow")
    array = _batched(np.frombuffer(body, dtype).reshape(shape), spec, field)
    if dtype == np.uint8:
        return spec.from_grid(array.astype(np.uint8))
    return check_values(as_float32(array), spec, field)


def decode_json_tensor(value: object, spec: InputSpec, field: str) -> Floats:
    """Nested lists of numbers to raw-range values, (N, C, H, W).

    Raises:
        InvalidInput: ragged, not numbers, wrong shape, not finite, out of range.
    """
    if not isinstance(value, list):
        raise InvalidInput(field, "a nested list of numbers is wanted")
    sizes, numbers = flattened(value, field)
    try:
        array = np.array(numbers, dtype=np.float64).reshape(sizes)
    except OverflowError:
        raise InvalidInput(field, "a number too large for any float") from None
    return check_values(as_float32(_batched(array, spec, field)), spec, field)


def flattened(value: list[Any], field: str) -> tuple[list[int], list[float]]:
    """Sizes and numbers of nested lists; checked here, since numpy makes room for the longest text in every cell."""
    sizes, rows = [len(value)], value
    while rows and isinstance(rows[0], list) and len(sizes) < _MAX_DIMENSIONS:
        sizes.append(len(rows[0]))
        if any(type(row) is not list or len(row) != sizes[-1] for row in rows):
            raise InvalidInput(field, "rows of unequal length, or numbers beside rows")
        rows = list(chain.from_iterable(rows))
    if not set(map(type, rows)) <= {int, float}:
        raise InvalidInput(field, "only numbers are taken, nested four deep at most")
    return sizes, rows


def check_values(values: Floats, spec: InputSpec, field: str) -> Floats:
    """`values` (N, C, H, W) as they are, if all are finite and in range.

    Raises:
        InvalidInput: names the first instance that is not.
    """
    low, high = spec.value_range
    if values.size and low <= values.min() and values.max() <= high:  # neither holds where there is a NaN
        return values
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat).all(axis=1)
    if not finite.all():
        raise InvalidInput(f"{field}[{int(np.argmin(finite))}]", "values must be finite; there is a NaN or an infinity")
    inside = ((flat >= low) & (flat <= high)).all(axis=1)
    if not inside.all():
        worst = flat[int(np.argmin(inside))]
        raise InvalidInput(
            f"{field}[{int(np.argmin(inside))}]",
            f"values run from {worst.min():g} to {worst.max():g}; this model takes {low:g} to {high:g}",
        )
    return values


def as_float32(array: NDArray[Any]) -> Floats:
    if array.dtype == np.float32:
        return array
    with np.errstate(all="ignore"):  # what does not fit becomes infinite, and is refused as that
        return array.astype(np.float32)


def _batched(array: NDArray[np.generic], spec: InputSpec, field: str) -> NDArray[np.generic]:
    """(C, H, W) or (N, C, H, W); for pictures also (H, W), (H, W, 3), (N, H, W)."""
    channels, height, width = spec.shape
    if array.shape == spec.shape:
        return array[None]
    if array.ndim == 4 and array.shape[1:] == spec.shape and len(array):
        return array
    if channels == 1 and array.shape == (height, width):
        return array[None, None]
    if channels == 1 and array.ndim == 3 and array.shape[1:] == (height, width) and len(array):
        return array[:, None]
    if spec.mode == "RGB" and array.shape == (height, width, channels):
        return np.ascontiguousarray(array.transpose(2, 0, 1))[None]
    raise InvalidInput(
        field, f"shape {array.shape}; this model takes {spec.shape} or (N, {', '.join(map(str, spec.shape))})"
    )
