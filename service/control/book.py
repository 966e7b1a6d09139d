"""Everything a verdict needs, in memory: licenses, credentials by keyed digest, models and their versions.

`control.sync` keeps it level with the database; a request never waits for a query.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
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
    bound_to: int | None = None  # the version whose students take its serial number: it is for no other


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
class StudentRecord:
    """A student that is ready. `digest` is that of its signed manifest; its number is signed for by the statement."""

    id: str
    version_id: str
    license_id: str | None  # None: it is shared
    statement: bytes = field(repr=False)
    issuer_key_id: str
    digest: str
    created_at: datetime


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
    stamped: bool = False  # it has students, for inputs that bear serial numbers


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model, its policy, and its versions by number."""

    id: str
    name: str
    unauthorized_policy: str
    revoked_policy: str
    versions: dict[int, VersionRecord]
    strangers: LicenseRecord  # what unproved callers are judged and counted as: no limits, the model's own account
    unloaded: bool = False  # it answers nobody, until it is loaded again
    answering: int | None = None  # the version that requests get here which name none: the chosen, once it is warm

    def is_in_use(self, number: int) -> bool:
        """Whether there is such a version, and it is not retired."""
        return number in self.versions and self.versions[number].state != "retired"

    @property
    def chosen(self) -> VersionRecord | None:
        """The version that is to answer requests which name none."""
        return next((version for version in self.versions.values() if version.state == "serving"), None)

    @property
    def serving(self) -> VersionRecord | None:
        """The version that does: the chosen one, or until that is warm the one before."""
        return None if self.answering is None else self.versions[self.answering]


@dataclass(slots=True)
class Book:
    """Look-ups by what a request carries. `control.sync` writes; which version answers, `inference.lifecycle`."""

    models: dict[str, ModelRecord] = field(default_factory=dict)  # by name
    versions: dict[str, VersionRecord] = field(default_factory=dict)  # by id
    peppers: set[str] = field(default_factory=set)  # the roots that live credentials hang on
    gatekeepers: dict[str, set[str]] = field(default_factory=dict)  # model id -> versions with fingerprints
    stamped: dict[str, set[str]] = field(default_factory=dict)  # model id -> versions with serial numbers
    students: dict[str, StudentRecord] = field(default_factory=dict)  # by id: those that are ready
    _bound: dict[tuple[bytes, int], str] = field(default_factory=dict)
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

    def bound_to(self, license_key: bytes, generation: int) -> int | None:
        """The number of the version that a license's serial number of this generation belongs to; None for others.

        0, which no version has, for one that is not known here yet.
        """
        version_id = self._bound.get((license_key, generation))
        if version_id is None:
            return None
        version = self.versions.get(version_id)
        return version.number if version else 0

    def reference(self, version_id: str) -> StudentRecord | None:
        """The student that strangers' stamped requests are put to: the shared one, else the first that was made."""
        of_version = (student for student in self.students.values() if student.version_id == version_id)
        return min(of_version, key=lambda one: (one.license_id is not None, one.created_at, one.id), default=None)

    def put_models(self, models: Iterable[ModelRecord]) -> None:
        """Replace what is known of models and versions; a version that answers does so until `swap`."""
        self.models = {model.name: self._answering(model) for model in models}
        self.versions = {version.id: version for model in self.models.values() for version in model.versions.values()}

    def swap(self, model: ModelRecord) -> None:
        """The chosen version is warm: it answers from now on."""
        self.models[model.name] = replace(model, answering=model.chosen.number if model.chosen else None)

    def _answering(self, model: ModelRecord) -> ModelRecord:
        before = self.models.get(model.name)
        old = before.serving.number if before and before.serving else None
        if model.chosen is None or old is None or model.unloaded or not model.is_in_use(old):
            return replace(model, answering=model.chosen.number if model.chosen else None)
        return replace(model, answering=old)

    def put_license(self, license: LicenseRecord) -> None:
        """Add or replace one license."""
        self._licenses[id_bytes(license.id)] = license

    def put_credential(self, credential: CredentialRecord, pepper_root: str, model_id: str) -> None:
        """Add or replace one credential."""
        self._credentials[credential.digest] = credential
        if credential.ends_at is not None:
            self._ends[id_bytes(credential.license_id), credential.generation] = credential.ends_at
        self.peppers.add(pepper_root)
        if credential.version_id is None:
            return
        if credential.kind == CredentialKind.FINGERPRINT:
            self.gatekeepers.setdefault(model_id, set()).add(credential.version_id)
        if credential.kind == CredentialKind.SERIAL_NUMBER:
            self.stamped.setdefault(model_id, set()).add(credential.version_id)
            self._bound[id_bytes(credential.license_id), credential.generation] = credential.version_id

    def put_student(self, student: StudentRecord) -> None:
        """Add one that is ready."""
        self.students[student.id] = student
