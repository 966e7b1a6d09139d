"""What the registry signs: the receipt of a commitment, and the evidence of a verification.

Both are canonical JSON with the issuer's key id and an Ed25519 signature over everything else in them; who checks them
is `signet_client.evidence`, which needs nothing of ours.
"""

import hashlib
from dataclasses import asdict
from datetime import datetime
from typing import Any

from signet_client.canonical import from_json, to_base64url, to_json
from signet_client.evidence import EVIDENCE, REGISTRATION, signed_bytes

from models.evaluation.ownership import READINGS, Reading, Verification
from models.watermarks.registered import MarkParameters
from service.clock import rfc3339
from service.keyring import KeyRing
from service.ownership.tables import OwnershipCommitment, Verdict

_WAYS = {
    "as it stands": "as it stands",
    "reordered": "with its units put back into the order of the marked network",
    "reordered and rescaled": "with its units put back into the order and the scale of the marked network",
}
_TOLERANCES = {0: "exactly", 1: "within one digit", 2: "within two digits"}


def receipt(
    ring: KeyRing, commitment_id: str, statement: bytes, public_key: str, registered_at: datetime
) -> dict[str, str]:
    """That the registry had this statement, signed with this key, at this time."""
    facts = {
        "commitment": commitment_id,
        "statement_sha256": hashlib.sha256(statement).hexdigest(),
        "public_key": public_key,
        "registered_at": rfc3339(registered_at),
    }
    return _signed(ring, REGISTRATION, facts)


def write(
    ring: KeyRing,
    verification_id: str,
    row: OwnershipCommitment,
    parameters: MarkParameters,
    mark_key: bytes,
    found: Verification,
    *,
    commitments: int,
    created_at: datetime,
) -> bytes:
    """The evidence document, signed. It holds the opened key on purpose: whoever checks it derives the mark from it."""
    reading = found.reading
    facts: dict[str, Any] = {
        "format": EVIDENCE,
        "id": verification_id,
        "created_at": rfc3339(created_at),
        "commitment": {
            "id": row.id,
            "statement": from_json(row.statement),
            "public_key": row.public_key,
            "signature": row.signature,
            "receipt": row.receipt,
        },
        "mark": found.mark,
        "mark_key": to_base64url(mark_key),
        "reference_sha256": found.reference_sha256,
        "suspect_sha256": found.suspect_sha256,
        "reading": reading.way,
        "tolerance": reading.tolerance,
        "positions": list(found.positions),
        "expected": list(found.expected),
        "extracted": list(reading.extracted),
        "probabilities": list(reading.probabilities),
        "matches": reading.matches,
        "log10_p": reading.log10_p,
        "adjustments": {
            "readings": READINGS,
            "log10_alignments": reading.log10_alignments,
            "marks": parameters.marks,
            "commitments": commitments,
        },
        "log10_adjusted_p": reading.log10_adjusted_p,
        "log10_threshold": found.log10_threshold,
        "verdict": Verdict.VERIFIED if found.verified else Verdict.NOT_VERIFIED,
        "readings": [_summary(each) for each in found.readings],
        "alignment": [asdict(group) for group in found.alignment],
        "alignment_error": found.alignment_error,
        "steps": _steps(row, parameters, found, commitments),
    }
    return to_json(_signed(ring, EVIDENCE, facts))


def _signed(ring: KeyRing, purpose: str, facts: dict[str, Any]) -> dict[str, Any]:
    content = {**facts, "kid": ring.active_issuer}
    signature = ring.issuer.sign(signed_bytes(purpose, ring.active_issuer, content))
    return {**content, "signature": to_base64url(signature)}


def _summary(reading: Reading) -> dict[str, Any]:
    names = ("way", "tolerance", "matches", "log10_p", "log10_alignments", "log10_adjusted_p")
    return {name: getattr(reading, name) for name in names}


def _steps(row: OwnershipCommitment, parameters: MarkParameters, found: Verification, commitments: int) -> list[str]:
    """What was done, in words for whoever has to judge it."""
    best, n = found.reading, parameters.digits
    ways = "; ".join(dict.fromkeys(_WAYS[each.way] for each in found.readings))
    refused = f" It could not be re-aligned ({found.alignment_error})." if found.alignment_error else ""
    return [
        f"On {row.receipt['registered_at']} the registry received the owner's signed statement {row.id} about "
        f"{parameters.model}. It fixes layer, digit map and, by a hash for each, the marks ({parameters.marks}).",
        f"The owner opened mark {found.mark}. The key that was shown has the hash that was registered.",
        f"{n} positions in {parameters.layer}, and the digit that belongs at each, follow from that key alone. They "
        "were fixed with the registration: what follows counts against networks that first appeared after it.",
        f"The suspect's digits were read in every way that its tensors allow, {ways}; each of them exactly, within one "
        f"digit and within two, since training on moves a weight by about a digit.{refused}",
        f"The best of these readings counts: {_WAYS[best.way]}, {_TOLERANCES[best.tolerance]}, {best.matches} of {n} "
        "digits are the expected ones.",
        "In a network without the mark a position matches with a chance of at least one in ten for each digit that "
        "counts, and of more where those digits are frequent in unmarked networks or in the suspect itself. So many "
        f"matches or more then have the probability {_power(best.log10_p)}.",
        f"Every choice there was is paid for: times {READINGS} readings, times {_power(best.log10_alignments)} ways to "
        f"re-align, times {parameters.marks} for the marks and {commitments} for the registered commitments. What "
        f"remains is {_power(best.log10_adjusted_p)}.",
        f"That is {'at most' if found.verified else 'more than'} the threshold of {_power(found.log10_threshold)}: "
        f"{Verdict.VERIFIED if found.verified else Verdict.NOT_VERIFIED}.",
    ]


def _power(log10: float) -> str:
    return f"{10**log10:.2g}" if abs(log10) < 3 else f"10^{log10:.1f}".removesuffix(".0")
