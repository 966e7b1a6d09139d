"""What the registry signs: the receipt of a commitment, and the evidence of a verification.

Both are canonical JSON with the issuer's key id and an Ed25519 signature over everything else in them; who checks them
is `signet_client.evidence`, which needs nothing of ours.
"""

import hashlib
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from signet_client.canonical import from_json, to_base64url, to_json
from signet_client.evidence import EVIDENCE, REGISTRATION, signed_bytes

from models.evaluation.ownership import LOG10_TRIES, READINGS, Reading, Verification
from models.evaluation.rank_correlation import rank_correlation
from models.watermarks.registered import MarkParameters
from service.clock import rfc3339
from service.keyring import KeyRing
from service.ownership.tables import OwnershipCommitment, Verdict

_WAYS = {
    "as it stands": "as it stands",
    "reordered": "with its units put back into the order of the marked network",
    "reordered and rescaled": "with its units put back into the order and the scale of the marked network",
}


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
    return signed(ring, REGISTRATION, facts)


def appeared_later(row: OwnershipCommitment, known_since: datetime | None) -> bool:
    """Whether the suspect first appeared after the registration, to the second and as far as was said."""
    return known_since is not None and rfc3339(known_since) > row.receipt["registered_at"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What evidence states beside what was found.

    `commitments` counts all, `openings` earlier verifications that showed the mark's key; `known_since` is the owner's
    word.
    """

    id: str
    mark_key: bytes = field(repr=False)
    commitments: int
    openings: int
    known_since: datetime | None
    created_at: datetime


def write(
    ring: KeyRing, row: OwnershipCommitment, parameters: MarkParameters, found: Verification, facts: Facts
) -> bytes:
    """The evidence document, signed. It holds the opened key on purpose: whoever checks it derives the mark from it."""
    reading = found.reading
    content: dict[str, Any] = {
        "format": EVIDENCE,
        "id": facts.id,
        "created_at": rfc3339(facts.created_at),
        "commitment": {
            "id": row.id,
            "statement": from_json(row.statement),
            "public_key": row.public_key,
            "signature": row.signature,
            "receipt": row.receipt,
        },
        "mark": found.mark,
        "mark_key": to_base64url(facts.mark_key),
        "mark_opened_before": facts.openings,
        "reference_sha256": found.reference_sha256,
        "suspect_sha256": found.suspect_sha256,
        "suspect_known_since": facts.known_since and rfc3339(facts.known_since),
        "reading": reading.way,
        "positions": list(found.positions),
        "expected": list(found.expected),
        "extracted": list(reading.extracted),
        "probabilities": list(reading.probabilities),
        "matches": reading.matches,
        "log10_p_digits": reading.log10_p_digits,
        "ranks": list(reading.ranks),
        "log10_p_ranks": reading.log10_p_ranks,
        "adjustments": {
            "readings": READINGS,
            "log10_alignments": reading.log10_alignments,
            "log10_tries": found.log10_tries,
            "marks": parameters.marks,
            "commitments": facts.commitments,
        },
        "log10_adjusted_p": reading.log10_adjusted_p,
        "log10_threshold": found.log10_threshold,
        "verdict": Verdict.VERIFIED if found.verified else Verdict.NOT_VERIFIED,
        "readings": [_summary(each) for each in found.readings],
        "alignment": [asdict(group) for group in found.alignment],
        "alignment_error": found.alignment_error,
        "steps": _steps(row, parameters, found, facts),
    }
    return to_json(signed(ring, EVIDENCE, content))


def signed(ring: KeyRing, purpose: str, facts: dict[str, Any]) -> dict[str, Any]:
    """The facts with the issuer's key id and signature over all of it."""
    content = {**facts, "kid": ring.active_issuer}
    signature = ring.issuer.sign(signed_bytes(purpose, ring.active_issuer, content))
    return {**content, "signature": to_base64url(signature)}


def _summary(reading: Reading) -> dict[str, Any]:
    lists = {"extracted", "probabilities", "ranks"}
    return {name: value for name, value in asdict(reading).items() if name not in lists}


def _steps(row: OwnershipCommitment, parameters: MarkParameters, found: Verification, facts: Facts) -> list[str]:
    """What was done, in words for whoever has to judge it."""
    best, n = found.reading, parameters.digits
    correlation = rank_correlation(best.ranks, found.expected)
    ways = "; ".join(dict.fromkeys(_WAYS[each.way] for each in found.readings))
    refused = f" It could not be re-aligned ({found.alignment_error})." if found.alignment_error else ""
    return [
        f"On {row.receipt['registered_at']} the registry received the owner's signed statement {row.id} about "
        f"{parameters.model}. It fixes layer, digit map and, by a hash for each, the marks ({parameters.marks}).",
        f"The owner opened mark {found.mark}. The key that was shown has the hash that was registered. It was shown "
        + (
            f"for other suspects before, {facts.openings} in all." if facts.openings else "for no other suspect before."
        ),
        f"{n} positions in {parameters.layer}, and the digit that belongs at each, follow from that key and the "
        "statement alone: they were fixed with the registration.",
        _age(row, found, facts.known_since),
        f"The suspect was read in every way that its tensors allow, {ways}.{refused} The best of these counts: "
        f"{_WAYS[best.way]}.",
        f"{best.matches} of {n} digits are the expected ones. In a network without the mark a position matches with a "
        "chance of at least one in ten, and of more where its digit is frequent in unmarked networks or in the suspect "
        f"itself. So many matches or more then have the probability {power(best.log10_p_digits)}.",
        "Training on moves weights by many digits before it changes which are the larger ones, so each weight's rank "
        f"in its layer was held against its digit as well. Their correlation is {correlation:.2f}; without the mark "
        f"one as large or larger has at most the probability {power(best.log10_p_ranks)}.",
        "The smaller of the two counts, and every choice there was is paid for: times "
        f"{READINGS} readings (three ways, two counts), times {power(best.log10_alignments)} ways to re-align, "
        f"times {parameters.marks} for the marks, {facts.commitments} for the registered commitments"
        f"{', and the tries' if found.log10_tries else ''}. What remains is {power(best.log10_adjusted_p)}.",
        f"That is {'at most' if found.verified else 'more than'} the threshold of {power(found.log10_threshold)}: "
        f"{Verdict.VERIFIED if found.verified else Verdict.NOT_VERIFIED}.",
    ]


def _age(row: OwnershipCommitment, found: Verification, known_since: datetime | None) -> str:
    """Whether the marks could have been chosen to fit the suspect, and what that costs."""
    if known_since is not None and not found.log10_tries:
        same = found.verified == (found.reading.log10_adjusted_p + LOG10_TRIES <= found.log10_threshold)
        return (
            f"By the owner's word the suspect first appeared on {rfc3339(known_since)}, after the registration, so "
            "that nobody can have chosen the marks to fit it. Whoever judges has to check that date"
            f"{', without which the verdict would be the same' if same else ''}."
        )
    said = f"is known since {rfc3339(known_since)}" if known_since else "may be older than the registration"
    return (
        f"The suspect {said}, so that marks could have been tried on it before one was registered, each at the cost of "
        f"a hash. 2^112 such tries, more than anybody can compute, are paid for below."
    )


def power(log10: float) -> str:
    """A probability or a factor in words."""
    return f"{10**log10:.2g}" if abs(log10) < 3 else f"10^{log10:.1f}".removesuffix(".0")
