"""The protocol's datatypes as numpy has them: little-endian and row-major on the wire."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput

Floats = NDArray[np.float32]
BYTES, BF16 = "BYTES", "BF16"
# Those that an image may come in. UINT8 means levels of the 8-bit grid, as in a PNG; BYTES are encoded pictures.
VALUES: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "FP16": np.dtype("<f2"),
    BF16: np.dtype("<u2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BINARY_ONLY = ("FP16", BF16)
OTHERS = ("BOOL", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")
_LENGTH = 4  # bytes of a BYTES element's own length


def values_of(raw: bytes | memoryview, datatype: str) -> NDArray[np.generic]:
    """The numbers (n,) of a raw tensor; BF16 as float32, of which it is the upper half."""
    numbers = np.frombuffer(raw, VALUES[datatype])
    return (numbers.astype("<u4") << 16).view("<f4") if datatype == BF16 else numbers


def elements_of(raw: bytes | memoryview, field: str, most: int) -> list[bytes]:
    """The elements of a raw BYTES tensor, up to one more than `most`.

    Raises:
        InvalidInput: an element's length goes beyond the end.
    """
    found: list[bytes] = []
    at, view = 0, memoryview(raw)
    while at < len(view) and len(found) <= most:
        start = at + _LENGTH
        at = start + int.from_bytes(view[at:start], "little")
        if start > len(view) or at > len(view):
            raise InvalidInput(field, f"element {len(found)} is cut off: its length goes beyond the tensor's end")
        found.append(bytes(view[start:at]))
    return found


def raw_of(elements: list[bytes]) -> bytes:
    """A BYTES tensor, raw."""
    return b"".join(len(element).to_bytes(_LENGTH, "little") + element for element in elements)
