"""What a license file carries as proof: fingerprints, a license key, or a serial number as the stamp it makes.

In the payload's JSON:

    {"kind": "fingerprint", "code": "codeword", "images": [<base64url>, ...]}
    {"kind": "key", "key": "sgn_<id>.<secret>"}
    {"kind": "serial_number", "shape": [C, H, W], "mode": "L", "value_range": ["0.0", "1.0"], "plan": <base64url>}
"""

from __future__ import annotations

import math
import re
import sys
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from signet_client.canonical import to_base64url
from signet_client.errors import LicenseFileInvalid
from signet_client.payload_fields import read_bytes, read_list, read_only, read_text

MOST_IMAGES = 16  # fingerprints of one license
MOST_PIXELS = 2**19  # of a plan: what a license file has room for
MOST_VALUES = 2**24  # of an input
BLACK, WHITE = -1, -2
INVERTED = -3  # and below: INVERTED - p is pixel p inverted

WITHIN = "credential."


@dataclass(frozen=True)
class FingerprintCredential:
    """Images that the network answers in the way allotted to this customer, to be shown in this order: PNG or NPY.

    `code` names what is allotted of an answer, `codeword` or `confidence`; whoever shows the images need not know.
    """

    code: str
    images: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class KeyCredential:
    """A license key, `sgn_<id>.<secret>`."""

    key: str = field(repr=False)


@dataclass(frozen=True)
class SerialNumberCredential:
    """A serial number as the stamp that every image has to bear.

    Inputs are (C, H, W), of mode `L`, `RGB` or `tensor`, with raw values in `value_range`. `plan` has one int32,
    little-endian, a pixel of (H, W), row by row, all channels alike: p >= 0 takes the value of flat pixel p, -1 is
    black, -2 white, and -3 - p is pixel p inverted.
    """

    shape: tuple[int, int, int]
    mode: str
    value_range: tuple[float, float]
    plan: bytes = field(repr=False)

    def steps(self) -> array[int]:
        """The plan's numbers, (H * W,)."""
        numbers = array("i", self.plan)
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers


Credential: TypeAlias = FingerprintCredential | KeyCredential | SerialNumberCredential


def write_credential(credential: Credential) -> dict[str, object]:
    """What goes into the payload; `read_credential` says whether it is a right one."""
    if isinstance(credential, FingerprintCredential):
        images = [to_base64url(image) for image in credential.images]
        return {"kind": "fingerprint", "code": credential.code, "images": images}
    if isinstance(credential, KeyCredential):
        return {"kind": "key", "key": credential.key}
    return {
        "kind": "serial_number",
        "shape": list(credential.shape),
        "mode": credential.mode,
        "value_range": [repr(float(end)) for end in credential.value_range],
        "plan": to_base64url(credential.plan),
    }


def read_credential(document: Mapping[str, object]) -> Credential:
    """The credential of a payload.

    Raises:
        LicenseFileInvalid: naming the field that is wrong.
    """
    kind = document.get("kind")
    if kind == "fingerprint":
        read_only(document, "credential", {"kind", "code", "images"})
        return FingerprintCredential(read_text(document, "code", r"[a-z_]{1,40}", WITHIN), _images(document))
    if kind == "key":
        read_only(document, "credential", {"kind", "key"})
        return KeyCredential(read_text(document, "key", r"sgn_[\x21-\x7e]{1,1000}", WITHIN))  # fits in a header
    if kind == "serial_number":
        read_only(document, "credential", {"kind", "shape", "mode", "value_range", "plan"})
        return _serial_number(document)
    raise LicenseFileInvalid(
        "credential.kind", "is none of fingerprint, key and serial_number; a newer client may read it"
    )


def _images(document: Mapping[str, object]) -> tuple[bytes, ...]:
    images = read_list(document, "images", 1, MOST_IMAGES, WITHIN)
    listed = {str(index): image for index, image in enumerate(images)}
    return tuple(read_bytes(listed, index, "credential.images.") for index in listed)


def _serial_number(document: Mapping[str, object]) -> SerialNumberCredential:
    shape, mode = _shape(document), read_text(document, "mode", r"L|RGB|tensor", WITHIN)
    if shape[0] != {"L": 1, "RGB": 3}.get(mode, shape[0]):
        raise LicenseFileInvalid("credential.shape", f"has not the channels of mode {mode}")
    credential = SerialNumberCredential(shape, mode, _value_range(document), read_bytes(document, "plan", WITHIN))
    pixels = shape[1] * shape[2]
    if len(credential.plan) != 4 * pixels:
        raise LicenseFileInvalid("credential.plan", "has not one 32-bit number a pixel")
    steps = credential.steps()
    if max(steps) >= pixels or min(steps) <= INVERTED - pixels:
        raise LicenseFileInvalid("credential.plan", "names a pixel that the shape does not have")
    return credential


def _shape(document: Mapping[str, object]) -> tuple[int, int, int]:
    sizes = [size for size in read_list(document, "shape", 3, 3, WITHIN) if type(size) is int and size > 0]
    if len(sizes) < 3 or math.prod(sizes) > MOST_VALUES or sizes[1] * sizes[2] > MOST_PIXELS:
        raise LicenseFileInvalid(
            "credential.shape", f"is not channels, height and width of at most {MOST_PIXELS} pixels"
        )
    return sizes[0], sizes[1], sizes[2]


def _value_range(document: Mapping[str, object]) -> tuple[float, float]:
    """The ends as Python's `repr` writes a float: the payload's numbers are whole ones."""
    ends = [end for end in read_list(document, "value_range", 2, 2, WITHIN) if isinstance(end, str)]
    numbers = [float(end) for end in ends if re.fullmatch(r"-?[0-9][0-9.e+-]{0,30}", end) and _is_float(end)]
    if len(numbers) < 2 or [repr(number) for number in numbers] != ends or not -1e30 < numbers[0] < numbers[1] < 1e30:
        raise LicenseFileInvalid("credential.value_range", "is not two ascending numbers, as text")
    return numbers[0], numbers[1]


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
