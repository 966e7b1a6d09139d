"""Pictures and arrays as an adversary would write them: chunk by chunk, header by header."""

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY = np.arange(28 * 28, dtype=np.uint32).reshape(28, 28).astype(np.uint8)  # a smooth picture, the same every time


def chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(
    width: int = 28,
    height: int = 28,
    *,
    depth: int = 8,
    colour: int = 0,
    first: bytes = b"",
    before: bytes = b"",
    rows: bytes | None = None,
    after: bytes = b"",
) -> bytes:
    """A PNG put together by hand: chunks `first` stand before IHDR, `before` the pixels, `after` behind them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    stride = 1 + (min(width, 28) * channels * depth + 7) // 8
    pixels = zlib.compress(bytes(stride * min(height, 28)) if rows is None else rows)
    return (
        PNG_SIGNATURE + first + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")
    )


def saved(pixels: NDArray[Any] = GREY, mode: str | None = None, kind: str = "PNG", **options: Any) -> bytes:
    """What Pillow writes."""
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(file, kind, **options)
    return file.getvalue()


def rotated(kind: str) -> bytes:
    """A picture whose EXIF says that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(kind=kind, exif=exif)


def rotated_by_xmp() -> bytes:
    """The same said in XMP."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    return saved(pnginfo=info)


def animated(kind: str) -> bytes:
    """Two frames: an APNG, or a JPEG that is an MPO."""
    return saved(kind=kind, save_all=True, append_images=[Image.fromarray(255 - GREY)])


def npy(array: NDArray[Any] | None = None, **options: Any) -> bytes:
    """What numpy writes."""
    file = io.BytesIO()
    np.lib.format.write_array(file, GREY if array is None else array, **options)
    return file.getvalue()


def npy_with_header(header: str, body: bytes = GREY.tobytes()) -> bytes:
    """An NPY 1.0 whose header says whatever it says."""
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def npy_saying(
    descr: str = "'|u1'", order: str = "False", shape: str = "(28, 28)", body: bytes = GREY.tobytes()
) -> bytes:
    """An NPY 1.0 with these three expressions in its header."""
    return npy_with_header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n", body)


def json_inputs(value: Any) -> bytes:
    """The JSON body of a prediction."""
    return json.dumps({"inputs": value}).encode()


def unit(grid: NDArray[np.uint8] = GREY) -> NDArray[np.float32]:
    """Grey levels as raw-range values of the digits model, 0 to 1."""
    return np.arange(256, dtype=np.float32)[grid] / np.float32(255)
