"""What a licensee hands in, as bytes for the wire. numpy and Pillow are imported for a caller who came with them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from signet_client.errors import InvalidInput


class SupportsArray(Protocol):
    """Turns into a numpy array: numpy's own, a torch tensor on the CPU, a jax array."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


class SupportsArrayInterface(Protocol):
    """Shows its memory as an array: a Pillow image does."""

    @property
    def __array_interface__(self) -> Any: ...


Image: TypeAlias = str | os.PathLike[str] | bytes | SupportsArray | SupportsArrayInterface

SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png", "image/png"),
    (b"\xff\xd8\xff", "jpg", "image/jpeg"),
    (b"\x93NUMPY", "npy", "application/x-npy"),
)
EXIF_ORIENTATION = 0x0112


class EncodedImage(NamedTuple):
    """One part of the multipart body. The name is made up: a file's own may tell whose picture it is."""

    filename: str
    data: bytes
    media_type: str


def encode_many(images: Image | Sequence[Image]) -> tuple[list[EncodedImage], bool]:
    """The images to send and whether they came as a list or tuple.

    Raises:
        InvalidInput: one of them cannot be sent; `field` is `images[<index>]`, or `images` for an empty list.
        OSError: a path cannot be read.
    """
    many = isinstance(images, list | tuple)
    given: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
    if not given:
        raise InvalidInput("images", "is empty")
    return [encode(image, index) for index, image in enumerate(given)], many


def encode(image: Image, index: int = 0) -> EncodedImage:
    """One image: a path, the bytes of a PNG, JPEG or NPY file, a Pillow image, or an array.

    Files are sent as they are. An array is uint8 (H, W), (H, W, 3) or (C, H, W), or float32 in the model's raw range,
    and becomes NPY; a Pillow image becomes PNG without its metadata. Nothing is rescaled, rounded or turned.

    Raises:
        InvalidInput: `field` is `images[<index>]`.
        OSError: the path cannot be read.
    """
    field = f"images[{index}]"
    if isinstance(image, str | os.PathLike):
        return _from_bytes(Path(image).read_bytes(), index, field)
    if isinstance(image, bytes | bytearray | memoryview):
        return _from_bytes(bytes(image), index, field)
    if _is_pillow(image):
        return EncodedImage(f"{index}.png", _png(image, field), "image/png")
    if hasattr(image, "__array__") or hasattr(image, "__array_interface__"):
        return EncodedImage(f"{index}.npy", _npy(image, field), "application/x-npy")
    raise InvalidInput(field, f"is a {type(image).__name__}, not a path, bytes, a Pillow image or an array")


def _from_bytes(data: bytes, index: int, field: str) -> EncodedImage:
    for signature, suffix, media_type in SIGNATURES:
        if data.startswith(signature):
            return EncodedImage(f"{index}.{suffix}", data, media_type)
    raise InvalidInput(field, "is neither PNG, JPEG nor NPY" if data else "is empty")


def _is_pillow(image: object) -> bool:
    if "PIL.Image" not in sys.modules:  # then nobody can have made one
        return False
    from PIL import Image as pillow

    return isinstance(image, pillow.Image)


def _png(image: Any, field: str) -> bytes:
    if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
        raise InvalidInput(field, "is to be turned by its EXIF orientation; apply PIL.ImageOps.exif_transpose first")
    buffer = io.BytesIO()
    try:
        image.save(buffer, "PNG", exif=b"", icc_profile=None)
    except (OSError, ValueError) as error:
        raise InvalidInput(field, f"of Pillow mode {image.mode} cannot be written as PNG: {error}") from error
    return buffer.getvalue()


def _npy(image: Any, field: str) -> bytes:
    try:
        import numpy as np
    except ModuleNotFoundError:
        raise InvalidInput(field, "is an array, and sending arrays needs numpy: pip install numpy") from None
    try:
        array = np.asarray(image)
    except Exception as error:  # what an array type raises is its own affair: a CUDA tensor TypeError, others others
        raise InvalidInput(field, f"does not turn into a numpy array: {error}") from error
    if array.dtype.newbyteorder("=") not in (np.dtype(np.uint8), np.dtype(np.float32)):
        raise InvalidInput(field, f"has dtype {array.dtype}, not uint8 or float32; convert it as the model means it")
    if array.ndim not in (2, 3):
        raise InvalidInput(
            field, f"has shape {array.shape}, not (H, W), (H, W, 3) or (C, H, W); a batch goes as list(batch)"
        )
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")), allow_pickle=False)
    return buffer.getvalue()
