"""What the issuer signs about a trace: canonical JSON, checked by `signet_client.trace` without us.

About a student that is named it holds the signed statement, which gives its number, and the key of its mark: whoever
reads it can stamp inputs as that customer, and find the mark. It says so, and that the license is to be reissued. Of
the other students it holds one figure each, and nothing that tells whose it is.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from signet_client.canonical import from_json, to_base64url, to_json
from signet_client.trace import TRACE

from models.checkpoints import Manifest
from models.evaluation.probing import null_seed
from models.evaluation.tracing import LOG10_INDICATED, LOG10_NAMED, WAYS, WITNESSES, Suspicion, Trace
from models.serial_numbers.dsn import Statement, sign
from service.clock import rfc3339
from service.customers.tables import Customer
from service.keyring import KeyRing
from service.ownership.evidence import power, signed
from service.ownership.traces.case import Case
from service.ownership.traces.schemas import ProbeKind
from service.ownership.traces.tables import OwnershipTrace
from service.students import numbers
from service.students.tables import Student

REISSUE = (
    "the evidence gives this license's serial number and its mark away: reissue it with POST /v1/licenses/{}/reissue, "
    "or revoke it"
)
SHARED = "the evidence gives this student's own number and its mark away; the numbers of those who share it are others"


@dataclass(frozen=True, slots=True)
class About:
    """The version, as a statement calls it, its manifest's digest, and how it makes students."""

    model: str
    digest: str
    case: Case


@dataclass(frozen=True, slots=True)
class Accused:
    """A student that is named or indicated, whose it is, and the manifest that was signed when it was made."""

    suspicion: Suspicion
    student: Student
    customer: Customer | None
    manifest: Manifest

    @property
    def named(self) -> bool:
        """Only then is anything given away."""
        return self.suspicion.finding == "named"

    @property
    def advice(self) -> str | None:
        """What is to be done about that."""
        if not self.named:
            return None
        return SHARED if self.student.license_id is None else REISSUE.format(self.student.license_id)


def summary(accused: Accused, found: Trace) -> dict[str, Any]:
    """For the trace's row and the answer: no secret."""
    each = accused.suspicion
    return {
        "student_id": accused.student.id,
        "license_id": accused.student.license_id,
        "customer_id": accused.customer and accused.customer.id,
        "customer_name": accused.customer and accused.customer.name,
        "finding": each.finding,
        "accuracy": each.correct / found.probes,
        "log10_p_stamp": each.log10_p_stamp,
        "log10_p_mark": each.log10_p_mark,
        "log10_adjusted_p": each.log10_adjusted_p,
        "disclosed": accused.named,
        "advice": accused.advice,
    }


def write(
    ring: KeyRing, row: OwnershipTrace, about: About, found: Trace, accused: list[Accused], now: datetime
) -> bytes:
    """The document, signed."""
    layout = about.case.policy.layout
    content: dict[str, Any] = {
        "format": TRACE,
        "id": row.id,
        "created_at": rfc3339(now),
        "model": about.model,
        "version_sha256": about.digest,
        "suspect_sha256": found.suspect_sha256,
        "probe": {"kind": row.probe, "sha256": found.probe_sha256, "inputs": found.probes},
        "layout": {"kind": layout.kind, "bits": layout.bits, "cell": layout.cell},
        "null": {
            "seed": null_seed(found.suspect_sha256, found.probe_sha256).hex(),
            "draws": found.draws,
            "histogram": list(found.histogram),
        },
        "registered": sorted((each.correct for each in found.suspicions), reverse=True),
        "adjustments": {
            "students": len(found.suspicions),
            "witnesses": WITNESSES,
            "tensors": len(found.tensors),
            "ways": WAYS,
        },
        "log10_thresholds": {"named": LOG10_NAMED, "indicated": LOG10_INDICATED},
        "found": [_entry(ring, each, layout.bits) for each in accused],
        "discloses": [each.student.license_id or each.student.id for each in accused if each.named],
        "verdict": "named" if found.named else "nobody named",
        "steps": _steps(row, about, found, accused),
    }
    return to_json(signed(ring, TRACE, content))


def _entry(ring: KeyRing, accused: Accused, bits: int) -> dict[str, Any]:
    each, student, mark = accused.suspicion, accused.student, accused.suspicion.mark
    opened: dict[str, Any] = {}
    if accused.named:
        key = ring.issuers[student.issuer_key_id]
        opened = {
            "statement": from_json(student.statement),
            "issuer_key_id": student.issuer_key_id,
            "statement_signature": to_base64url(sign(key, Statement.from_bytes(student.statement))),
            "number": _hex(numbers.again(ring, student.statement, student.issuer_key_id, bits).bits),
            "mark_key": to_base64url(numbers.mark_key(ring, student.id)),
            "manifest": from_json(accused.manifest.to_bytes()),
        }
    return {
        "student": student.id,
        "license": student.license_id,
        "customer": accused.customer and {"id": accused.customer.id, "name": accused.customer.name},
        "finding": each.finding,
        "correct": each.correct,
        "at_least": each.at_least,
        "log10_p_stamp": each.log10_p_stamp,
        "mark": mark
        and {
            "tensor": mark.tensor,
            "way": mark.way,
            "compared": mark.compared,
            "agreeing": mark.agreeing,
            "log10_orders": mark.log10_orders,
        },
        "log10_p_mark": each.log10_p_mark,
        "log10_adjusted_p": each.log10_adjusted_p,
        "opened": opened or None,
    }


def _hex(bits: Any) -> str:
    """Bit by bit, the first one highest, padded with zeros to whole bytes."""
    text = "".join("1" if bit else "0" for bit in bits)
    return bytes(int(text[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(text), 8)).hex()


def _steps(row: OwnershipTrace, about: About, found: Trace, accused: list[Accused]) -> list[str]:
    """What was done, in words for whoever has to judge it."""
    count = len(found.suspicions)
    asked = "of the version's calibration inputs" if row.probe == ProbeKind.CALIBRATION else "that the owner chose"
    return [
        f"Every student of {about.model} was made for one serial number, and works on inputs that bear it as a stamp. "
        f"{count} were registered when the suspect was held against them.",
        f"The suspect was asked about {found.probes} inputs {asked}, stamped with each registered number and with "
        f"{found.draws} random ones. These follow from the digests of suspect and inputs, so that nobody chose them.",
        "To whoever did not make the suspect of a student, that student's number is as random as these. So its rank "
        "among them is uniform, and the share of random numbers that do as well or better is its p-value; ties count "
        "against the accusation.",
        "A student also bears a mark: a secret key drew a sign for each weight, and training drew the weight towards "
        "it. With a network made without the key a sign agrees with the chance of one half. The signs that agree were "
        f"counted in each of {len(found.tensors)} tensors, as the suspect stands"
        + (
            "."
            if all(each.mark is None or each.mark.way == "as it stands" for each in found.suspicions)
            else ", and with its units put back into the order of the student."
        ),
        f"Of the two p-values the smaller counts, times {WITNESSES} for that choice and {count} for the students "
        f"(Bonferroni); the mark's is multiplied by {len(found.tensors)} tensors, {WAYS} ways to read and all orders "
        "of units first.",
        *(_said(each, found) for each in accused),
        (
            "What is at most 10^-6 after that is named. "
            if found.named
            else "Nothing is at most 10^-6 after that: nobody is named. "
        )
        + "What is at most 1 % is indicated, which accuses nobody: one innocent suspect in a hundred shows as much.",
        *(f"{each.student.license_id or each.student.id}: {each.advice}." for each in accused if each.named),
    ]


def _said(accused: Accused, found: Trace) -> str:
    each, mark = accused.suspicion, accused.suspicion.mark
    whose = f"license {accused.student.license_id}" if accused.student.license_id else "those who share it"
    signs = ""
    if mark is not None:
        signs = f"; {mark.agreeing} of {mark.compared} signs in {mark.tensor} agree, p = {power(each.log10_p_mark)}"
    return (
        f"Student {accused.student.id}, of {whose}: {each.correct} of {found.probes} inputs right with its stamp, "
        f"{each.at_least} of {found.draws} random numbers do as well, p = {power(each.log10_p_stamp)}{signs}. What "
        f"remains after all corrections is {power(each.log10_adjusted_p)}: {each.finding}."
    )
