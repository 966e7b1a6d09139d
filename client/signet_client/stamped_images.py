"""Images on their way to the gateway, with the license's stamp: decoded to the model's 8-bit grid, sent as NPY.

A picture that the gateway would refuse is refused here, since the gateway does not see it any more. Pillow is imported
for pictures and numpy for arrays, so a licensee needs the one that goes with what he hands in.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from signet_client.credentials import SerialNumberCredential
from signet_client.errors import InvalidInput
from signet_client.images import EXIF_ORIENTATION, EncodedImage
from signet_client.stamping import LEVELS, Stamper, channels_first, ends, npy

if TYPE_CHECKING:
    from numpy.typing import NDArray

ON_GRID = 0.01  # grey levels between a value and the nearest of the 256: as the gateway takes it
PNG_BIT_DEPTH = 24  # where the header has it


def stamped(image: EncodedImage, index: int, stamper: Stamper) -> EncodedImage:
    """The image with the stamp, as NPY.

    Raises:
        InvalidInput: of another size or kind than the model takes, or damaged; `field` is `images[<index>]`.
    """
    field, credential = f"images[{index}]", stamper.credential
    if image.media_type == "application/x-npy":
        levels = _levels_of_array(image.data, credential, field)
    else:
        levels = _levels_of_picture(image, credential, field)
    return EncodedImage(f"{index}.npy", npy(stamper.levels(levels), credential.shape), "application/x-npy")


def _levels_of_picture(image: EncodedImage, credential: SerialNumberCredential, field: str) -> bytes:
    """The grey levels (C, H, W) of a PNG or JPEG."""
    if credential.mode == "tensor":
        raise InvalidInput(field, "is a picture, and this model takes arrays")
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise InvalidInput(field, "is a picture, and stamping pictures needs Pillow: pip install pillow") from None
    try:
        with Image.open(io.BytesIO(image.data), formats=("PNG", "JPEG")) as picture:
            _check_picture(picture, image, credential, field)
            picture.load()
            turned = picture.getexif().get(EXIF_ORIENTATION, 1) != 1
            planes = b"".join(picture.getchannel(band).tobytes() for band in picture.getbands())
    except InvalidInput:
        raise
    except Exception as error:  # what a decoder raises over a damaged file is its own affair
        raise InvalidInput(field, "is a damaged picture") from error
    if turned:
        raise InvalidInput(field, "is to be turned by its EXIF orientation; save it upright")
    return planes


def _check_picture(picture: Any, image: EncodedImage, credential: SerialNumberCredential, field: str) -> None:
    _, height, width = credential.shape
    if picture.size != (width, height):
        sizes = f"{picture.width}x{picture.height} pixels; this license's stamp is for {width}x{height}"
        raise InvalidInput(field, f"has {sizes}: resize it first")
    if image.media_type == "image/png" and image.data[PNG_BIT_DEPTH] != 8:
        raise InvalidInput(field, f"has {image.data[PNG_BIT_DEPTH]} bits a channel, not 8")
    if picture.mode != credential.mode or "transparency" in picture.info:
        raise InvalidInput(field, f"is of mode {picture.mode} or transparent; this model takes {credential.mode}")
    if getattr(picture, "n_frames", 1) != 1:
        raise InvalidInput(field, "is animated; send one frame")


def _levels_of_array(data: bytes, credential: SerialNumberCredential, field: str) -> bytes:
    """The grey levels (C, H, W) of an NPY file."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        raise InvalidInput(field, "is an array, and stamping arrays needs numpy: pip install numpy") from None
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # as above
        raise InvalidInput(field, "is not an NPY file that can be read") from error
    values = channels_first(array, credential, field)
    if values.ndim != 3:
        raise InvalidInput(field, f"holds {len(values)} images; send them one by one, as list(batch)")
    return (values if values.dtype == np.uint8 else _on_grid(values, credential, field)).tobytes()


def _on_grid(values: NDArray[Any], credential: SerialNumberCredential, field: str) -> NDArray[Any]:
    import numpy as np

    low, high = ends(credential, np.dtype(np.float64))
    place = (values.astype(np.float64) - low) * (LEVELS / (high - low))
    nearest = np.clip(np.rint(place), 0, LEVELS)
    if not (np.abs(place - nearest) <= ON_GRID).all():  # NaN is on no grid
        raise InvalidInput(
            field,
            f"holds a value that is none of the 256 levels from {low:g} to {high:g}, which a stamped image has to "
            "keep to; round it to them first",
        )
    levels: NDArray[Any] = nearest.astype(np.uint8)
    return levels
