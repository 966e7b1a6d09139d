"""A version's files on disk: `manifest.json` (signed), `weights.safetensors`, `calibration.safetensors`, and
`distillation.safetensors` where students are made of it.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.checkpoints import Manifest, check_digests, verify_manifest
from models.errors import ManifestError
from models.specs import InputSpec, OutputSpec
from service.clock import rfc3339

log = structlog.get_logger(__name__)
ABANDONED_S = 3600.0  # an upload writes its files, takes its turn and is placed: seconds, a minute on a slow disk
FINGERPRINTS: Mapping[str, object] = {"code": "codeword", "confidences": None, "epsilon": 0.001, "longest": 4}
MANIFEST, WEIGHTS, CALIBRATION = "manifest.json", "weights.safetensors", "calibration.safetensors"
DISTILLATION = "distillation.safetensors"


@dataclass(frozen=True, slots=True)
class Artefact:
    """What is uploaded, stored and loaded."""

    manifest: Manifest
    weights: bytes = field(repr=False)
    calibration: bytes = field(repr=False)
    distillation: bytes | None = field(default=None, repr=False)

    @classmethod
    def pack(
        cls,
        name: str,
        network: str,
        network_config: Mapping[str, object],
        input_spec: InputSpec,
        output_spec: OutputSpec,
        weights: bytes,
        calibration: bytes,
        *,
        created_at: datetime,
        fingerprints: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        serial_numbers: Mapping[str, object] | None = None,
        distillation: bytes | None = None,
    ) -> "Artefact":
        """An unsigned artefact of these parts; `fingerprints` holds what is not to be as in FINGERPRINTS.

        `serial_numbers` and `distillation` go together: the policy, and the inputs that students learn from.

        Raises:
            ManifestError: naming the field that is not right.
        """
        manifest = Manifest(
            name=name,
            network=network,
            network_config=network_config,
            input_spec=input_spec,
            output_spec=output_spec,
            weights_sha256=hashlib.sha256(weights).hexdigest(),
            calibration_sha256=hashlib.sha256(calibration).hexdigest(),
            fingerprints={**FINGERPRINTS, **(fingerprints or {})},
            metrics=metrics or {},
            created_at=rfc3339(created_at),
            serial_numbers=serial_numbers,
            distillation_sha256=None if distillation is None else hashlib.sha256(distillation).hexdigest(),
        )
        return cls(manifest, weights, calibration, distillation)

    @property
    def files(self) -> dict[str, bytes]:
        """What lies in its folder, by name."""
        files = {WEIGHTS: self.weights, CALIBRATION: self.calibration, MANIFEST: self.manifest.to_bytes()}
        return files if self.distillation is None else {DISTILLATION: self.distillation, **files}

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed manifest, which fixes weights and calibration by their own digests."""
        return hashlib.sha256(self.manifest.to_bytes()).digest()


class ArtefactStore:
    """`<home>/models/<name>/<number>/`."""

    def __init__(self, root: Path, trusted: Mapping[str, Ed25519PublicKey]) -> None:
        self._root = root
        self._trusted = trusted

    @asynccontextmanager
    async def staged(self, artefact: Artefact) -> AsyncIterator[Path]:
        """A folder with the artefact's files, safe on the disk, to be put in its `place`; gone afterwards otherwise."""
        model = self._root / artefact.manifest.name
        fresh = model / f".{secrets.token_hex(8)}.incoming"
        try:
            model.mkdir(mode=0o700, parents=True, exist_ok=True)
            await asyncio.to_thread(write_folder, fresh, artefact)
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed uploads left."""
        sweep(self._root, "*/.*.incoming")

    def place(self, staged: Path, name: str, number: int) -> None:
        """Make a staged folder this version: complete or not at all."""
        final = self._path(name, number)
        shutil.rmtree(final, ignore_errors=True)  # left by a transaction that did not commit
        staged.rename(final)
        sync_folder(final.parent)

    def read(self, name: str, number: int, digest: bytes) -> Artefact:
        """A version whose signature and digests hold.

        Raises:
            ManifestError: missing, not the registered one, or signed by nobody we trust.
            WeightsError, CalibrationError: the file is not the one the manifest speaks of.
        """
        artefact = read_folder(self._path(name, number))
        verify_manifest(artefact.manifest, self._trusted)
        if artefact.digest != digest:
            raise ManifestError("manifest", "the stored manifest is not the one that was registered")
        return artefact

    def manifest(self, name: str, number: int, digest: bytes) -> Manifest:
        """A version's manifest whose signature holds, without its files.

        Raises:
            ManifestError: missing, not the registered one, or signed by nobody we trust.
        """
        try:
            manifest = Manifest.from_bytes((self._path(name, number) / MANIFEST).read_bytes())
        except OSError as error:
            raise ManifestError("manifest", f"cannot be read: {error.strerror}") from None
        verify_manifest(manifest, self._trusted)
        if hashlib.sha256(manifest.to_bytes()).digest() != digest:
            raise ManifestError("manifest", "the stored manifest is not the one that was registered")
        return manifest

    def _path(self, name: str, number: int) -> Path:
        return self._root / name / str(number)


def sweep(root: Path, pattern: str) -> None:
    """Remove folders under `root` that killed uploads left. Nobody has written there for an hour, so nobody does now:
    the files of an upload are all in memory before its folder is made. A lock would say so too, but not across a shared
    disk.
    """
    for left in root.glob(pattern):
        with contextlib.suppress(OSError):  # another's sweep was there first
            if time.time() - _last_written(left) > ABANDONED_S:
                shutil.rmtree(left)
                log.info("upload.swept", folder=left.parent.name)


def _last_written(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))


def write_folder(folder: Path, artefact: Artefact) -> None:
    """Its files in a new folder (0700), safe on the disk."""
    folder.mkdir(mode=0o700)
    write_files(folder, artefact.files)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Files in a folder that is there, all of them safe on the disk."""
    for name, data in files.items():
        _write(folder / name, data)
    sync_folder(folder)


def write_file(path: Path, data: bytes) -> None:
    """One file, in its place whole or not at all."""
    draft = path.with_name(path.name + ".part")
    _write(draft, data)
    draft.replace(path)
    sync_folder(path.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """What was made, renamed or removed in a folder, safe on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_folder(folder: Path) -> Artefact:
    """The files of a folder, digests checked; whether the signature counts is the caller's question.

    Raises:
        ManifestError, WeightsError, CalibrationError: missing, malformed, or not what the manifest speaks of.
    """
    try:
        manifest = Manifest.from_bytes((folder / MANIFEST).read_bytes())
        distillation = None if manifest.distillation_sha256 is None else (folder / DISTILLATION).read_bytes()
        weights, calibration = (folder / WEIGHTS).read_bytes(), (folder / CALIBRATION).read_bytes()
    except OSError as error:
        raise ManifestError("manifest", f"an artefact's file cannot be read: {error.strerror}") from None
    check_digests(manifest, weights, calibration, distillation)
    return Artefact(manifest, weights, calibration, distillation)
