"""Whether a PNG holds all that its header promises, by its own bytes: decoders fill in what is missing.

PNG specification (third edition): chunks 5.3, interlacing 8.2.
"""

from __future__ import annotations

import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BIT_DEPTH_OFFSET, INTERLACE_OFFSET = 24, 28
# x, y of the first pixel of each pass and the steps between two (PNG specification, 8.2)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def check_complete(png: bytes, width: int, height: int, channels: int) -> None:
    """Refuse an 8-bit PNG that does not hold exactly its pixels and its end: Pillow would make up the rest.

    Raises:
        ValueError, zlib.error
    """
    passes = _ADAM7 if png[INTERLACE_OFFSET] else ((0, 0, 1, 1),)
    sizes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in passes]
    expected = sum(rows * (1 + columns * channels) for columns, rows in sizes if columns > 0)
    unpacker = zlib.decompressobj()
    unpacked = len(unpacker.decompress(_packed_pixels(png), expected + 1))
    if unpacked != expected or not unpacker.eof:
        raise ValueError("too few or too many pixels")


def _packed_pixels(png: bytes) -> bytes:
    position, packed = len(SIGNATURE), []
    while (kind := png[position + 4 : position + 8]) != b"IEND":
        if not kind:
            raise ValueError("no end")
        length = int.from_bytes(png[position : position + 4], "big")
        if kind == b"IDAT":
            packed.append(png[position + 8 : position + 8 + length])
        position += length + 12
    return b"".join(packed)
