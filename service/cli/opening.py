"""Which mark of which commitment a suspect is shown, and the key that opens it."""

import hashlib
from typing import TYPE_CHECKING, Any

from service.cli.api import Api, fail
from service.cli.owner_secret import OwnerSecret

if TYPE_CHECKING:  # importing it imports torch: not for `--help`
    from models.watermarks.registered import Commitment


def statement_of(commitment: dict[str, Any]) -> "Commitment":
    from models.watermarks.registered import Commitment

    return Commitment.from_bytes(commitment["statement"].encode())


def marks_of(commitment: dict[str, Any]) -> range:
    return range(len(statement_of(commitment).mark_hashes))


def chosen_commitment(api: Api, model: str, commitment_id: str | None) -> dict[str, Any]:
    found: list[dict[str, Any]] = api.every("/v1/ownership/commitments", model=model)
    wanted = [one for one in found if commitment_id in (None, one["id"])]
    if not wanted:
        what = f"no commitment {commitment_id} to {model}" if commitment_id else f"nothing is committed to {model} yet"
        raise fail(f"{what}; see `signet ownership list` and `signet ownership commit`")
    return wanted[-1]


def next_mark(api: Api, commitment: dict[str, Any], suspect: bytes) -> int:
    """The mark that this suspect was verified with before, or else the first that no verified suspect has seen."""
    before = api.every("/v1/ownership/verifications", commitment_id=commitment["id"])
    digest = hashlib.sha256(suspect).hexdigest()
    for verification in before:
        if verification["suspect_sha256"] == digest and verification["verdict"] == "verified":
            mark: int = verification["mark"]
            return mark
    fresh = [mark for mark in marks_of(commitment) if mark not in commitment["opened_marks"]]
    if not fresh:
        raise fail(
            f"all marks of {commitment['id']} are opened: commit a new version, or choose one again with "
            "--mark, which whoever saw its evidence could have removed or copied"
        )
    return fresh[0]


def opening_key(secret: OwnerSecret, commitment: dict[str, Any], index: int) -> bytes:
    """The mark's key; looked at here, so that another secret's is sent nowhere."""
    from models.errors import WatermarkError
    from models.watermarks.registered import mark_key

    statement = statement_of(commitment)
    key = mark_key(secret.value, statement.parameters, index)
    try:
        statement.open(index, key)
    except WatermarkError as error:
        hint = "; is it another owner's secret? See --secret-file" if error.field == "mark_key" else ""
        raise fail(f"{error}{hint}") from None
    return key
