"""Putting a license's serial number into images: what the model needs to see in every one of them.

    from signet_client import stamp
    stamped = stamp(pixels, "acme.lic", trust="issuer.pub")

`Client.predict` does it by itself. Stamping is exact on the 8-bit grid and undone by whatever changes a pixel, so what
is stamped travels as PNG or NPY, never as JPEG. Bytes are enough for it; numpy is imported for arrays alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signet_client.credentials import BLACK, INVERTED, SerialNumberCredential
from signet_client.errors import InvalidInput, LicenseFileInvalid
from signet_client.license_payload import LicenseFile
from signet_client.sources import LicenseSource, read_license
from signet_client.trust import Trust

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = 255
INVERSE = bytes(reversed(range(256)))


def stamp(
    image: NDArray[Any], license: LicenseFile | SerialNumberCredential | LicenseSource, *, trust: Trust | None = None
) -> NDArray[Any]:
    """A copy of an array with the license's stamp in it, of the same shape and type.

    Args:
        image: (H, W), (H, W, 3), (C, H, W) or (N, C, H, W); uint8 grey levels, or float32 or float64 in the model's
            raw range. Several go as (N, C, H, W).
        license: the license, or where it is kept: path, text or bytes of the license file.
        trust: the issuer's public key, see `signet_client.trust`.

    Raises:
        InvalidInput: another shape or type; `field` is `image`.
        LicenseFileInvalid: not a license by serial number, or none that can be believed.
        UntrustedIssuer, NoTrustAnchor, OSError: as for `Client`.
    """
    if not isinstance(license, LicenseFile | SerialNumberCredential):
        license = read_license(license, trust)
    credential = license.credential if isinstance(license, LicenseFile) else license
    if not isinstance(credential, SerialNumberCredential):
        raise LicenseFileInvalid("credential.kind", "is not serial_number: images of this license bear no stamp")
    return Stamper(credential).array(image, "image")


class Stamper:
    """One license's stamp, ready to be put into many images."""

    def __init__(self, credential: SerialNumberCredential) -> None:
        self.credential = credential
        _, height, width = credential.shape
        self._pixels = height * width
        # Into a plane, then black and white, then the plane inverted.
        self._from = [step if step >= 0 else self._beyond(step) for step in credential.steps()]

    def __repr__(self) -> str:
        return f"<Stamper for {self.credential.shape}>"

    def _beyond(self, step: int) -> int:
        return self._pixels + (BLACK - step if step > INVERTED else 2 + INVERTED - step)

    def levels(self, planes: bytes) -> bytes:
        """Grey levels (C, H, W), one byte each, with the stamp in every channel."""
        stamped = bytearray()
        for start in range(0, len(planes), self._pixels):
            plane = planes[start : start + self._pixels]
            source = plane + bytes((0, LEVELS)) + plane.translate(INVERSE)
            stamped += bytes(map(source.__getitem__, self._from))
        return bytes(stamped)

    def probe(self) -> bytes:
        """A black image with the stamp, as NPY: what a session is opened with."""
        channels, height, width = self.credential.shape
        return npy(self.levels(bytes(channels * height * width)), self.credential.shape)

    def array(self, image: NDArray[Any], field: str) -> NDArray[Any]:
        """As `stamp`; `field` is what an InvalidInput names."""
        import numpy as np

        values = channels_first(np.asarray(image), self.credential, field)
        low, high = ends(self.credential, values.dtype)
        flat = values.reshape(*values.shape[:-2], self._pixels)  # (..., C, H * W)
        edge = np.empty((*flat.shape[:-1], 2), values.dtype)
        edge[..., 0], edge[..., 1] = low, high
        source = np.concatenate([flat, edge, (low + high if values.dtype.kind == "f" else high) - flat], axis=-1)
        stamped = source[..., self._from].reshape(values.shape)
        if np.ndim(image) == 3 and np.shape(image) != values.shape:
            stamped = np.moveaxis(stamped, 0, -1)
        return np.ascontiguousarray(stamped.reshape(np.shape(image)))


def npy(levels: bytes, shape: tuple[int, int, int]) -> bytes:
    """Grey levels (C, H, W) as numpy.save writes them: NPY 1.0, uint8."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    padded = header.ljust(-(len(header) + 11) % 64 + len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + levels


def ends(credential: SerialNumberCredential, dtype: Any) -> tuple[Any, Any]:
    """Black and white in an array of this type: levels 0 and 255 of the grid in float32, as the gateway has them."""
    import numpy as np

    if dtype == np.uint8:
        return np.uint8(0), np.uint8(LEVELS)
    low, high = credential.value_range
    white = np.float32(low) + np.float32(high - low) * np.float32(LEVELS) / np.float32(LEVELS)
    return dtype.type(np.float32(low)), dtype.type(white)


def channels_first(array: NDArray[Any], credential: SerialNumberCredential, field: str) -> NDArray[Any]:
    """(C, H, W) or (N, C, H, W) of uint8, float32 or float64, in this machine's byte order.

    Raises:
        InvalidInput: another shape or type.
    """
    import numpy as np

    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.dtype not in (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64)):
        raise InvalidInput(field, f"has dtype {array.dtype}, not uint8, float32 or float64; convert it")
    channels, height, width = credential.shape
    if native.shape == credential.shape or (native.ndim == 4 and native.shape[1:] == credential.shape):
        return native
    if channels == 1 and native.shape == (height, width):
        return native[None]
    if credential.mode == "RGB" and native.shape == (height, width, channels):
        return np.ascontiguousarray(np.moveaxis(native, -1, 0))
    raise InvalidInput(field, f"has shape {array.shape}; this license's stamp is for {credential.shape}")
