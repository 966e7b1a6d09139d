"""The statement an owner registers before any suspect is seen: the terms, the reference, and a hash for each mark."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import WatermarkError
from models.watermarks.registered.marks import Mark, open_mark
from models.watermarks.registered.parameters import MarkParameters, canonical, exactly, need

FORMAT = 1
DOMAIN = b"signet/mark-commitment/1"
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Commitment:
    """Public. `reference_sha256` is of the marked network's weights file; `mark_hashes` has one entry a mark.

    A mark hash is SHA-256 over the domain, the digest of everything else in the statement, and the mark key: it gives
    no key away, and fits no other statement. Raises WatermarkError naming the field.
    """

    parameters: MarkParameters
    reference_sha256: str
    mark_hashes: tuple[str, ...]

    def __post_init__(self) -> None:
        need("reference_sha256", _is_digest(self.reference_sha256), "must be 64 lower-case hex digits")
        hashes = isinstance(self.mark_hashes, list | tuple) and all(map(_is_digest, self.mark_hashes))
        need("mark_hashes", hashes, "must be a list of 64 lower-case hex digits each")
        object.__setattr__(self, "mark_hashes", tuple(self.mark_hashes))
        need("mark_hashes", len(self.mark_hashes) == self.parameters.marks, "must have one entry a mark")

    def to_dict(self) -> dict[str, object]:
        """A JSON object that `from_dict` takes back."""
        return {
            "format": FORMAT,
            "parameters": self.parameters.to_dict(),
            "reference_sha256": self.reference_sha256,
            "mark_hashes": list(self.mark_hashes),
        }

    @classmethod
    def from_dict(cls, content: object) -> Commitment:
        """Exactly the known fields; raises WatermarkError naming the first that is not right."""
        exactly(content, {"format", "parameters", "reference_sha256", "mark_hashes"}, "commitment")
        assert isinstance(content, dict)
        need("format", type(content["format"]) is int and content["format"] == FORMAT, f"must be {FORMAT}")
        parameters = MarkParameters.from_dict(content["parameters"])
        return cls(parameters, content["reference_sha256"], content["mark_hashes"])

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.to_dict())

    @classmethod
    def from_bytes(cls, data: bytes) -> Commitment:
        """Strict: canonical bytes only."""
        try:
            commitment = cls.from_dict(json.loads(data))
            canonical_form = commitment.to_bytes()
        except (ValueError, OverflowError, RecursionError):  # halves of surrogate pairs, numbers of thousands of digits
            raise WatermarkError("commitment", "is not JSON that can be written again") from None
        need("commitment", canonical_form == data, "is not in canonical form")
        return commitment

    def open(self, index: int, key: bytes) -> Mark:
        """The mark that was committed to; WatermarkError naming `mark`, or `mark_key` when the hash is another's."""
        mark = open_mark(self.parameters, index, key)
        expected = _mark_hash(self.parameters, self.reference_sha256, mark)
        if not hmac.compare_digest(expected, self.mark_hashes[index]):
            raise WatermarkError("mark_key", f"is not the key that mark {index} was committed with")
        return mark

    def check_reference(self, reference: bytes) -> None:
        """WatermarkError naming `reference` when these are not the weights that were committed to."""
        if hashlib.sha256(reference).hexdigest() != self.reference_sha256:
            raise WatermarkError("reference", "is not the weights file whose digest was committed to")


def commit(parameters: MarkParameters, marks: Sequence[Mark], reference: bytes) -> Commitment:
    """The statement about marks that `reference`, the weights file of the marked network, bears.

    Raises WatermarkError naming `marks` when they are not all of the owner's, in order.
    """
    need("marks", [mark.index for mark in marks] == list(range(parameters.marks)), "must be all of them, in order")
    digest = hashlib.sha256(reference).hexdigest()
    return Commitment(parameters, digest, tuple(_mark_hash(parameters, digest, mark) for mark in marks))


def _mark_hash(parameters: MarkParameters, reference_sha256: str, mark: Mark) -> str:
    terms = {"format": FORMAT, "parameters": parameters.to_dict(), "reference_sha256": reference_sha256}
    content = b"|".join([DOMAIN, hashlib.sha256(canonical(terms)).digest(), str(mark.index).encode(), mark.key])
    return hashlib.sha256(content).hexdigest()


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and DIGEST.fullmatch(value) is not None
