"""Students' files: `<home>/students/<id>/`, a signed manifest and weights."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.checkpoints import Manifest, verify_manifest
from models.errors import ManifestError
from service.catalogue.artefacts import MANIFEST, WEIGHTS, sync_folder, write_files
from service.keyring import make_private


@dataclass(frozen=True, slots=True)
class StudentFiles:
    """A student as it lies on the disk: its manifest is a version's, with its own network, weights and figures."""

    manifest: Manifest
    weights: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the signed manifest, which fixes the weights."""
        return hashlib.sha256(self.manifest.to_bytes()).hexdigest()


class StudentStore:
    """Writes students whole or not at all, and reads back what was registered."""

    def __init__(self, root: Path, trusted: Mapping[str, Ed25519PublicKey]) -> None:
        self._root = root
        self._trusted = trusted

    def write(self, student_id: str, files: StudentFiles) -> None:
        """Put a student in its place; one that is there already, from a killed worker, is replaced.

        Raises:
            OSError: nothing of it is left.
        """
        make_private(self._root)
        fresh, final = self._root / f".{student_id}.incoming", self._root / student_id
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir(mode=0o700)
            write_files(fresh, {WEIGHTS: files.weights, MANIFEST: files.manifest.to_bytes()})
            shutil.rmtree(final, ignore_errors=True)
            os.rename(fresh, final)
            sync_folder(self._root)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def remove(self, student_id: str) -> None:
        """Remove what there is of a student."""
        shutil.rmtree(self._root / f".{student_id}.incoming", ignore_errors=True)
        shutil.rmtree(self._root / student_id, ignore_errors=True)

    def read(self, student_id: str, digest: str) -> StudentFiles:
        """A student whose signature and digests hold.

        Raises:
            ManifestError: missing, malformed, not the registered one, or not signed by us.
        """
        folder = self._root / student_id
        try:
            manifest = Manifest.from_bytes((folder / MANIFEST).read_bytes())
            files = StudentFiles(manifest, (folder / WEIGHTS).read_bytes())
        except OSError as error:
            raise ManifestError("student", f"a student's file cannot be read: {error.strerror}") from None
        verify_manifest(manifest, self._trusted)
        if files.digest != digest:
            raise ManifestError("manifest", "the student's manifest is not the one that was registered")
        if hashlib.sha256(files.weights).hexdigest() != manifest.weights_sha256:
            raise ManifestError("weights_sha256", "does not match the student's file: it was changed")
        return files
