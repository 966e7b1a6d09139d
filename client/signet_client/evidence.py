"""Check evidence of ownership with the issuer's public keys alone: python evidence.py EVIDENCE ISSUER.PUB
Needs Python 3.11 and `cryptography`. Exit code 0: valid and verified, 1: valid and not verified, 2: invalid."""

import base64
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EVIDENCE, REGISTRATION, STATEMENT = "signet-evidence/2", "signet-registration/1", "signet-commitment/1"
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
READINGS, LOG10_THRESHOLD = 6, -9.0  # ways to read a suspect; the most that the adjusted p-value may be


def check(evidence: bytes, issuer: bytes) -> Iterator[tuple[bool, str]]:
    """Step by step, whether it holds and what. With the first that does not, or any exception, the evidence is void."""
    e, issuers = json.loads(evidence), {key["kid"]: key["public_key"] for key in json.loads(issuer)["keys"]}
    yield _JSON(e).encode() == evidence and e["format"] == EVIDENCE, f"the file is one document of the form {EVIDENCE}"
    yield _signed(issuers.get(e["kid"], ""), EVIDENCE, e["kid"], e), f"the issuer signed it with the key {e['kid']}"
    about, owner, receipt, signature, statement = e["commitment"].values()  # canonical: in the keys' order
    registered, kid, public_key, when, _, digest = receipt.values()
    same = (registered, public_key, digest) == (about, owner, hashlib.sha256(_JSON(statement).encode()).hexdigest())
    same &= _signed(issuers.get(kid, ""), REGISTRATION, kid, receipt) and when <= e["created_at"]  # UTC, whole seconds
    yield same, f"the issuer registered the owner's statement before, on {when}"
    terms, mark, key = statement["parameters"], e["mark"], base64.urlsafe_b64decode(e["mark_key"] + "==")
    yield _signed(terms["owner"], STATEMENT, owner, statement | {"signature": signature}), f"the owner signed: {owner}"
    fixed = hashlib.sha256(_JSON({k: v for k, v in statement.items() if k != "mark_hashes"}).encode()).digest()
    opened = hashlib.sha256(b"|".join([b"signet/mark-commitment/1", fixed, b"%d" % mark, key])).hexdigest()
    known = opened == dict(enumerate(statement["mark_hashes"]))[mark] and len(key) == 32
    known &= e["reference_sha256"] == statement["reference_sha256"] and len(statement["mark_hashes"]) == terms["marks"]
    yield known, f"the opened key is what mark {mark} was made of"
    n, weights = terms["digits"], list(range(math.prod(terms["shape"])))
    part = _sample(_draws(b"signet/mark-parts/1", _JSON(terms).encode()), weights, len(weights))[mark :: terms["marks"]]
    seed = hashlib.sha256(_JSON(terms).encode()).digest() + key
    positions = _sample(_draws(b"signet/mark-positions/1", seed), part, n)
    digits = list(map(_draws(b"signet/mark-digits/1", seed), [10] * n))
    yield [e["positions"], e["expected"], n >= 64] == [positions, digits, True], f"its {n} positions and digits follow"
    null, chances, ranks, mass = terms["null_frequencies"], e["probabilities"], e["ranks"], [Decimal(1)]
    fair = all(max(0.1, null[digit]) - 1e-9 <= p <= 1 for digit, p in zip(digits, chances, strict=True))
    for p in map(Decimal, chances):  # mass[m]: the chance of m matches among the positions so far
        mass = [no * (1 - p) + yes * p for no, yes in zip([*mass, Decimal(0)], [Decimal(0), *mass], strict=True)]
    matches = sum(found == digit for found, digit in zip(e["extracted"], digits, strict=True))
    by_digits = float(sum(mass[matches:], Decimal(0)).log10())
    counted = fair and matches == e["matches"] and abs(by_digits - e["log10_p_digits"]) < 1e-6
    yield counted, f"{matches} of {n} digits are the expected ones, by chance with p = 10^{by_digits:.1f}"
    score = sum(int.__index__(rank) * (2 * digit - 9) for rank, digit in zip(ranks, digits, strict=True))
    by_ranks = -(max(0, score) ** 2) / (66 * (sum(rank**2 for rank in ranks) or 1)) / math.log(10)  # 33: of 2 D - 9
    yield abs(by_ranks - e["log10_p_ranks"]) < 1e-6, f"ranks follow digits so well by chance: p <= 10^{by_ranks:.1f}"
    since, (commitments, ways, *told) = e["suspect_known_since"], e["adjustments"].values()
    tries = 112 * math.log10(2) if since is None or since <= when else 0.0  # by whoever had the suspect before
    before = "2^112 tries before the registration, too" if tries else f"CHECK that the suspect appeared on {since} only"
    paid = [*told, type(commitments)] == [tries, terms["marks"], READINGS, int] and commitments >= 1 and ways >= 0
    adjusted = min(0.0, min(by_digits, by_ranks) + ways + tries + math.log10(READINGS * terms["marks"] * commitments))
    yield paid and math.isclose(adjusted, e["log10_adjusted_p"], abs_tol=1e-6), f"all paid: 10^{adjusted:.1f}, {before}"
    verdict = "verified" if adjusted <= LOG10_THRESHOLD else "not verified"
    yield [e["verdict"], e["log10_threshold"]] == [verdict, LOG10_THRESHOLD], f"the verdict is: {verdict}"


def signed_bytes(purpose: str, key_id: str, content: dict[str, object]) -> bytes:  # all of it but the signature
    return f"{purpose}\n{key_id}\n".encode() + _JSON({k: v for k, v in content.items() if k != "signature"}).encode()


def _signed(public_key: str, purpose: str, key_id: str, content: dict[str, str]) -> bool:
    key, signature = (base64.urlsafe_b64decode(text + "==") for text in (public_key, content["signature"]))
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed_bytes(purpose, key_id, {**content}))
    except (InvalidSignature, ValueError):
        return False
    return base64.urlsafe_b64encode(signature).decode().rstrip("=") == content["signature"]


def _draws(domain: bytes, seed: bytes) -> Callable[[int], int]:  # numbers below a bound: SHAKE-256, without bias
    prefix = domain + b"\0" + len(seed).to_bytes(8, "big") + seed
    blocks = (hashlib.shake_256(prefix + number.to_bytes(8, "big")).digest(4096) for number in range(2**64))
    words = (int.from_bytes(block[at : at + 8], "big") for block in blocks for at in range(0, 4096, 8))
    return lambda bound: next(word for word in words if word < 2**64 // bound * bound) % bound


def _sample(below: Callable[[int], int], items: list[int], size: int) -> list[int]:
    for i in range(size):
        j = i + below(len(items) - i)
        items[i], items[j] = items[j], items[i]
    return items[:size]


if __name__ == "__main__":
    try:
        for number, (holds, what) in enumerate(check(*(Path(name).read_bytes() for name in sys.argv[1:])), 1):
            sys.stdout.write(f"({number}) {what if holds else 'DOES NOT HOLD: ' + what}\n")
            if not holds:
                sys.exit(2)
    except Exception as error:
        sys.exit(sys.stderr.write(f"INVALID: {error!r}\n") and 2)
    sys.exit(what != "the verdict is: verified")
