"""Pictures that are refused: damaged, of another form, or made to hurt."""

import zlib

import numpy as np

from tests.service.inputs import builders as made
from tests.service.inputs.rows import GOOD, UNIT, UNREAD, bare, form

COLOUR = np.stack([made.GREY] * 3, axis=2)
EIGHTS = made.chunk(b"tEXt", b"abcdefgh\x08\x08")  # where the bit depth would stand
SMALL_BOMB = made.chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20 - 1)))
NO_HEX = made.chunk(b"tEXt", b"Raw profile type exif\0\n\n\nnot hex")
BOMB = zlib.compress(bytes(64 * 2**20), 9)

PICTURES = [
    bare("a signature and nothing else", made.PNG_SIGNATURE),
    bare("cut within the header", GOOD[:20]),
    bare("cut within the pixels", GOOD[: len(GOOD) // 2]),
    bare("cut before the pixels", GOOD[:40]),
    bare("cut behind the last pixel", GOOD[:-20]),
    bare("without its closing chunk", GOOD[:-12]),
    bare("too many rows", made.raw_png(rows=bytes(29 * 29))),
    bare("a wrong checksum", GOOD[:-20] + bytes([GOOD[-20] ^ 1]) + GOOD[-19:]),
    bare("pixels that are not zlib", made.raw_png(rows=b"").replace(zlib.compress(b""), b"x" * 8)),
    bare("too few rows", made.raw_png(rows=bytes(29 * 3))),
    bare("16-bit grey", made.saved(made.GREY.astype(np.uint16) * 257)),
    bare("16-bit colour", made.raw_png(depth=16, colour=2)),
    bare(
        "16-bit colour behind a chunk before its header",
        made.raw_png(depth=16, colour=2, first=EIGHTS),
    ),
    bare(
        "4-bit grey behind a chunk before its header",
        made.raw_png(depth=4, first=EIGHTS),
    ),
    bare("one bit a pixel", made.saved(mode="1")),
    bare("4-bit grey", made.raw_png(depth=4)),
    bare("a palette", made.saved(mode="P")),
    bare("a palette with transparency", made.saved(mode="P", transparency=3)),
    bare("grey with alpha", made.saved(mode="LA")),
    bare("colour with alpha", made.saved(mode="RGBA")),
    bare("a transparent grey level", made.saved(transparency=7)),
    bare("colour for a grey model", made.saved(COLOUR)),
    bare("rotated by EXIF in a PNG", made.rotated("PNG")),
    bare("rotated by EXIF in a JPEG", made.rotated("JPEG")),
    bare("rotated by XMP", made.rotated_by_xmp()),
    bare("EXIF that cannot be read", made.raw_png(before=made.chunk(b"eXIf", b"MM\0*\0\0\xff\xff rubbish"))),
    bare(
        "old-style EXIF that is not hex",
        made.raw_png(before=made.chunk(b"tEXt", b"Raw profile type exif\0\n\n\nnot hex")),
    ),
    bare("an animated PNG", made.animated("PNG")),
    bare("a JPEG of several frames", made.animated("MPO")),
    bare("one column short", made.saved(made.GREY[:, 1:])),
    bare("twice as large", made.saved(np.kron(made.GREY, np.ones((2, 2), np.uint8)))),
    bare("a bomb: 60 bytes that declare 2.5 gigapixels", made.raw_png(50_000, 50_000)),
    bare("a bomb: a negative or endless size", made.raw_png(2**31 - 1, 2**31 - 1)),
    bare("no pixels at all", made.raw_png(0, 0)),
    bare("a compressed text that unpacks to 64 MiB", made.raw_png(before=made.chunk(b"zTXt", b"k\0\0" + BOMB))),
    bare("a long text that unpacks to 64 MiB", made.raw_png(before=made.chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB))),
    bare("the same behind the pixels", made.raw_png(after=made.chunk(b"zTXt", b"k\0\0" + BOMB))),
    bare("a colour profile that unpacks to 64 MiB", made.raw_png(before=made.chunk(b"iCCP", b"k\0\0" + BOMB))),
    bare(
        "many texts, each just small enough",
        made.raw_png(before=SMALL_BOMB * 80),
    ),
    bare("a JPEG in CMYK", made.saved(COLOUR, "CMYK", "JPEG")),
    bare("a truncated JPEG", made.saved(kind="JPEG")[:-200]),
    bare("a JPEG's first bytes", b"\xff\xd8\xff\xe0"),
    bare("a GIF", made.saved(kind="GIF"), **UNREAD),
    bare("a BMP", made.saved(kind="BMP"), **UNREAD),
    bare("a TIFF", made.saved(kind="TIFF"), **UNREAD),
    bare("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg'/>", **UNREAD),
    bare("nothing", b"", **UNREAD),
    bare("a pickle", b"\x80\x04K\x01.", **UNREAD),
    form("the second of three", GOOD, GOOD[:50], GOOD, field="images[1]"),
    form("the last of three, of another size", GOOD, GOOD, made.saved(made.GREY[1:]), field="images[2]"),
    form("an NPY among pictures", GOOD, made.npy(UNIT * 3), field="images[1][0]"),
]
