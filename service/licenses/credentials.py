"""What is stored of a credential: its keyed digest. The same functions enrol and recognise."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from service.control.book import Book, CredentialRecord, LicenseRecord, ModelRecord, VersionRecord
from service.ids import id_bytes
from service.keyring import KeyRing
from service.keys import keyed_digest
from service.licenses.tables import CredentialKind, LicenseStatus


def key_digest(ring: KeyRing, root: str, text: str) -> bytes:
    """Of a license key; it is bound to no version."""
    return keyed_digest(ring, root, CredentialKind.KEY, b"", b"", text.encode())


def key_digests(ring: KeyRing, book: Book, text: str) -> tuple[bytes, ...]:
    """What a license key may be stored under: one a pepper."""
    return tuple(key_digest(ring, root, text) for root in book.peppers & ring.roots.keys())


def fingerprint_digest(ring: KeyRing, root: str, version: VersionRecord, grid: NDArray[np.uint8]) -> bytes:
    """Of a license's fingerprints on the 8-bit grid, (m, C, H, W): bound to their gatekeeper, shape and order."""
    return _fingerprint_digest(ring, root, version, grid.shape, hashlib.sha256(grid.tobytes()).digest())


def serial_number_digest(ring: KeyRing, root: str, version_digest: bytes, bits: NDArray[np.bool_]) -> bytes:
    """Of a serial number (n,), in the order of the statement's: bound to the version whose student takes it."""
    packed = np.packbits(bits).tobytes()
    return keyed_digest(ring, root, CredentialKind.SERIAL_NUMBER, version_digest, str(len(bits)).encode(), packed)


def _fingerprint_digest(
    ring: KeyRing, root: str, version: VersionRecord, shape: tuple[int, ...], pixels: bytes
) -> bytes:
    sizes = ",".join(map(str, shape)).encode()
    return keyed_digest(ring, root, CredentialKind.FINGERPRINT, version.digest, sizes, pixels)


def find_key(book: Book, digests: Iterable[bytes]) -> CredentialRecord | None:
    """The credential that is stored under one of a key's digests."""
    return _first(map(book.credential, digests))


def find_fingerprint(ring: KeyRing, book: Book, model: ModelRecord, grid: NDArray[np.uint8]) -> CredentialRecord | None:
    """The credential whose fingerprints (m, C, H, W) these are, whichever gatekeeper they were enrolled on."""
    # A version may have been added between the two looks that fill the book; the next one knows it.
    gatekeepers = [book.versions.get(version_id) for version_id in book.gatekeepers.get(model.id, ())]
    pixels = hashlib.sha256(grid.tobytes()).digest()  # once, however many gatekeepers and roots there are
    return _first(
        book.credential(_fingerprint_digest(ring, root, version, grid.shape, pixels))
        for version in filter(None, gatekeepers)
        for root in book.peppers & ring.roots.keys()
    )


def find_serial_number(
    ring: KeyRing, book: Book, version: VersionRecord, numbers: NDArray[np.int8]
) -> CredentialRecord | None:
    """The credential whose number all of `numbers` (N, n) are, N >= 1, on a version; -1 is a bit that is none.

    The look-ups are made whatever the images show.
    """
    bits = numbers[0] == 1
    found = _first(
        book.credential(serial_number_digest(ring, root, version.digest, bits))
        for root in book.peppers & ring.roots.keys()
    )
    return found if bool((numbers == numbers[0]).all()) and numbers.min() >= 0 else None


def holder(book: Book, credential: CredentialRecord | None, now: datetime) -> LicenseRecord | None:
    """The license that a credential proves."""
    return held(book, id_bytes(credential.license_id), credential.generation, now) if credential else None


def held(book: Book, license_key: bytes, generation: int, now: datetime) -> LicenseRecord | None:
    """A license through its credential of this generation, which another may have replaced by now."""
    license = book.license(license_key)
    if license is None:
        return None
    ends_at = book.ends_at(license_key, generation)
    if ends_at is not None and ends_at <= now and license.status != LicenseStatus.REVOKED:
        license = replace(license, replaced_at=ends_at)
    bound_to = book.bound_to(license_key, generation)
    if bound_to is not None:
        license = replace(license, bound_to=bound_to)
    if generation != license.generation:  # its receipts open with the key in its own license file
        license = replace(license, generation=generation)
    return license


def _first(found: Iterable[CredentialRecord | None]) -> CredentialRecord | None:
    # All are looked at: which of them it was does not show in the time taken.
    return next(filter(None, list(found)), None)
