"""Everything a verdict needs, in memory: licenses, credentials by keyed digest, models and their versions.

`control.sync` keeps it level with the database; a request never waits for a query.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from service.ids import id_bytes
from service.licenses.tables import CredentialKind
from service.licenses.terms import Terms


@dataclass(frozen=True, slots=True)
class LicenseRecord:
    """A license as a verdict reads it."""

    id: str
    model_id: str
    status: str
    terms: Terms
    generation: int
    ring_root: str
    checked_in_at: datetime
    revoked_at: datetime | None
    suspended_at: datetime | None = None
    replaced_at: datetime | None = None  # of the credential that it is seen through


@dataclass(frozen=True, slots=True)
class CredentialRecord:
    """A credential: whose it is and, for fingerprints, their gatekeeper and the slots of their answers; for a serial
    number, the version and its student.

    `generation` is that of the receipt key in its license file; past `ends_at` another credential has replaced it.
    """

    license_id: str
    kind: str
    digest: bytes
    version_id: str | None
    slots: tuple[int, ...]
    generation: int
    ends_at: datetime | None
    student_id: str | None = None


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One immutable version. `digest` is that of its signed manifest."""

    id: str
    model_name: str
    number: int
    state: str
    digest: bytes
    input_size: int  # numbers in one input
    longest: int  # fingerprints a license may carry


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model, its policy, and its versions by number."""

    id: str
    name: str
    unauthorized_policy: str
    revoked_policy: str
    versions: dict[int, VersionRecord]
    strangers: LicenseRecord  # what unproved callers are judged and counted as: no limits, the model's own account

    @property
    def serving(self) -> VersionRecord | None:
        """The version that answers requests which name none."""
        return next((version for version in self.versions.values() if version.state == "serving"), None)


@dataclass(slots=True)
class Book:
    """Look-ups by what a request carries. Only `control.sync` writes."""

    models: dict[str, ModelRecord] = field(default_factory=dict)  # by name
    versions: dict[str, VersionRecord] = field(default_factory=dict)  # by id
    peppers: set[str] = field(default_factory=set)  # the roots that live credentials hang on
    gatekeepers: dict[str, set[str]] = field(default_factory=dict)  # model id -> versions with fingerprints
    _licenses: dict[bytes, LicenseRecord] = field(default_factory=dict)
    _credentials: dict[bytes, CredentialRecord] = field(default_factory=dict)
    _ends: dict[tuple[bytes, int], datetime] = field(default_factory=dict)

    def license(self, key: bytes) -> LicenseRecord | None:
        """The license whose id has these 16 bytes."""
        return self._licenses.get(key)

    def credential(self, digest: bytes) -> CredentialRecord | None:
        """The credential with this keyed digest."""
        return self._credentials.get(digest)

    def ends_at(self, license_key: bytes, generation: int) -> datetime | None:
        """When a license's credential of this generation ends, if another has replaced it."""
        return self._ends.get((license_key, generation))

    def put_models(self, models: Iterable[ModelRecord]) -> None:
        """Replace what is known of models and versions."""
        self.models = {model.name: model for model in models}
        self.versions = {version.id: version for model in self.models.values() for version in model.versions.values()}

    def put_license(self, license: LicenseRecord) -> None:
        """Add or replace one license."""
        self._licenses[id_bytes(license.id)] = license

    def put_credential(self, credential: CredentialRecord, pepper_root: str, model_id: str) -> None:
        """Add or replace one credential."""
        self._credentials[credential.digest] = credential
        if credential.ends_at is not None:
            self._ends[id_bytes(credential.license_id), credential.generation] = credential.ends_at
        self.peppers.add(pepper_root)
        if credential.version_id is not None and credential.kind == CredentialKind.FINGERPRINT:
            self.gatekeepers.setdefault(model_id, set()).add(credential.version_id)
