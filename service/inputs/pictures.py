"""One picture, as bytes, to raw-range values on the model's 8-bit grid. Strict: nothing is silently reinterpreted.

A picture that another program would show differently (palette, alpha, 16 bits, rotated by EXIF, animated) is refused
with the reason, and its size is looked at before a pixel is decoded.
"""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from signet_client.png import BIT_DEPTH_OFFSET, check_complete

from models.specs import InputSpec
from service.errors import InvalidInput, UnsupportedMedia

Image.MAX_IMAGE_PIXELS = None  # we refuse by size ourselves, before decoding, with the limit in the message
Floats = NDArray[np.float32]
_SIGNATURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
_IHDR = slice(12, 16)
_ORIENTATION = 0x0112
_Format = Literal["PNG", "JPEG"]


def decode_picture(
    data: bytes, spec: InputSpec, field: str, max_pixels: int, formats: tuple[_Format, ...] = ("PNG", "JPEG")
) -> Floats:
    """PNG or JPEG bytes to raw-range values, (1, C, H, W).

    Raises:
        UnsupportedMedia: neither PNG nor JPEG.
        InvalidInput: damaged, too large, of another mode or size than the model takes.
    """
    if spec.mode == "tensor":
        raise UnsupportedMedia(field, "this model takes tensors, not pictures; send NPY or JSON")
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except Exception as error:
        if data.startswith(tuple(_SIGNATURES[name] for name in formats)):
            raise InvalidInput(field, "a damaged picture: its header cannot be read") from error
        raise UnsupportedMedia(field, f"not a picture we read; send {' or '.join(formats)}") from error
    with image:
        _check_container(image, data, field)
        _check_size(image, spec, field, max_pixels)
        try:
            if image.format == "PNG":
                check_complete(data, image.width, image.height, len(image.getbands()))
            image.load()
            orientation = image.getexif().get(_ORIENTATION, 1)  # parses what the sender wrote, and so may fail
        except Exception as error:
            raise InvalidInput(field, "a damaged or truncated picture") from error
        if orientation != 1:
            raise InvalidInput(field, "the picture is rotated by its EXIF orientation; save it upright")
        pixels = np.asarray(_fitted(image, spec, field), dtype=np.uint8)
    channels_first = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return spec.from_grid(np.ascontiguousarray(channels_first[None]))


def pixels_of(data: bytes) -> int:
    """Pixels that a picture's header promises; 0 for what is none, which decoding will say."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            return image.width * image.height
    except Exception:
        return 0


def _check_container(image: Image.Image, data: bytes, field: str) -> None:
    if image.format == "PNG" and data[_IHDR] != b"IHDR":
        raise InvalidInput(field, "a damaged picture: a PNG begins with its header")  # Pillow is more lenient
    if image.format == "PNG" and data[BIT_DEPTH_OFFSET] != 8:
        raise InvalidInput(field, f"the picture has {data[BIT_DEPTH_OFFSET]} bits a channel; send 8")
    if getattr(image, "n_frames", 1) != 1:
        raise InvalidInput(field, "an animated picture; send one frame")
    if image.mode == "P":
        raise InvalidInput(field, "a palette picture; convert it to grey or RGB")
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        raise InvalidInput(field, "the picture has transparency; flatten it first")
    if image.mode not in ("L", "RGB"):
        raise InvalidInput(
            field, f"pictures of mode {image.mode} are not taken; send grey or RGB with 8 bits a channel"
        )


def _check_size(image: Image.Image, spec: InputSpec, field: str, max_pixels: int) -> None:
    _, height, width = spec.shape
    if image.width * image.height > max_pixels:
        raise InvalidInput(field, f"{image.width}x{image.height} pixels; at most {max_pixels} are decoded")
    if spec.resize == "refuse" and image.size != (width, height):
        raise InvalidInput(field, f"{image.width}x{image.height} pixels; this model takes {width}x{height}")


def _fitted(image: Image.Image, spec: InputSpec, field: str) -> Image.Image:
    _, height, width = spec.shape
    if spec.resize == "fit":
        return image.convert(spec.mode).resize((width, height), Image.Resampling.BILINEAR)
    if image.mode != spec.mode:
        raise InvalidInput(field, f"a picture of mode {image.mode}; this model takes {spec.mode}")
    return image
