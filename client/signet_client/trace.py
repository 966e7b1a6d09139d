"""Check the evidence of a trace with the issuer's public keys alone: python trace.py EVIDENCE ISSUER.PUB [SUSPECT]
Needs Python 3.11 and `cryptography`; with the suspect's file it counts the signs of the mark in it anew.
Exit code 0: valid and somebody is named, 1: valid and nobody is, 2: invalid."""

import base64
import hashlib
import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TRACE, WITNESSES, WAYS, THRESHOLDS = "signet-trace/1", 2, 2, {"indicated": -2.0, "named": -6.0}
TYPES = {"F64": ("d", 8), "F32": ("f", 4), "F16": ("e", 2)}
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def check(evidence: bytes, issuer: bytes, suspect: bytes | None = None) -> Iterator[tuple[bool, str]]:
    """Step by step, whether it holds and what. With the first that does not, or any exception, the evidence is void."""
    e, keys = json.loads(evidence), {key["kid"]: _bytes(key["public_key"]) for key in json.loads(issuer)["keys"]}
    yield _JSON(e).encode() == evidence and e["format"] == TRACE, f"the file is one document of the form {TRACE}"
    rest = {name: value for name, value in e.items() if name != "signature"}
    whole = f"{TRACE}\n{e['kid']}\n".encode() + _JSON(rest).encode()
    yield _signed(keys[e["kid"]], e["signature"], whole), f"the issuer signed it with the key {e['kid']}"
    digests, null, paid = (e["suspect_sha256"], e["probe"]["sha256"]), e["null"], e["adjustments"]
    seed = hashlib.sha256(b"signet/trace-null/1\0" + b"".join(map(bytes.fromhex, digests))).hexdigest()
    whole_numbers = [*null["histogram"], null["draws"], *e["registered"], *paid.values()]
    sound = (
        all(type(count) is int and count >= 0 for count in whole_numbers) and sum(null["histogram"]) == null["draws"]
    )
    sound &= len(null["histogram"]) == e["probe"]["inputs"] + 1 and len(e["registered"]) == paid["students"] >= 1
    sound &= (paid["witnesses"], paid["ways"]) == (WITNESSES, WAYS) and paid["tensors"] >= 1
    yield sound and null["seed"] == seed, f"{null['draws']} random numbers follow from the digests of suspect and probe"
    for f in e["found"]:
        yield from _check_figures(e, f)
        if f["finding"] == "named":
            yield from _check_opened(e, f, keys)
            if suspect is not None and f["mark"] is not None:
                yield hashlib.sha256(suspect).hexdigest() == e["suspect_sha256"], "the suspect's file is the one traced"
                if f["mark"]["way"] == "as it stands":
                    counted = _count(suspect, f["mark"]["tensor"], _bytes(f["opened"]["mark_key"]))
                    yield counted == (f["mark"]["compared"], f["mark"]["agreeing"]), "it bears these signs"
    named = [f["license"] or f["student"] for f in e["found"] if f["finding"] == "named"]
    same = [e["verdict"], e["discloses"]] == ["named" if named else "nobody named", named]
    yield same and e["log10_thresholds"] == THRESHOLDS, f"the verdict is: {', '.join(named) or 'nobody'} named"


def _check_figures(e: dict[str, Any], f: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    null, paid, mark, by_mark = e["null"], e["adjustments"], f["mark"], 0.0
    at_least = sum(null["histogram"][f["correct"] :])
    by_stamp = math.log10((1 + at_least) / (1 + null["draws"]))
    good = f["correct"] in e["registered"] and at_least == f["at_least"] and _near(by_stamp, f["log10_p_stamp"])
    yield (
        good,
        f"{f['student']}: {f['correct']} right, as many as {at_least} random numbers have: p = {10**by_stamp:.2g}",
    )
    if mark is not None:
        n, m, orders = mark["compared"], mark["agreeing"], mark["log10_orders"]
        share = m / n if n else 0.0
        bits = math.log(2) + sum(part * math.log(part) for part in (share, 1 - share) if part)
        by_signs = -n * bits / math.log(10) if 2 * m > n else 0.0  # Chernoff's bound of P(X >= m), X ~ B(n, 1/2)
        by_mark = min(0.0, min(0.0, by_signs + orders) + math.log10(paid["tensors"] * WAYS))
        paid_for = orders == 0 if mark["way"] == "as it stands" else orders >= 0
        yield paid_for and 0 <= m <= n and _near(by_mark, f["log10_p_mark"]), f"{m} of {n} signs: p <= 10^{by_mark:.1f}"
    adjusted = min(0.0, min(by_stamp, by_mark) + math.log10(WITNESSES * paid["students"]))
    reached = [name for name in ("named", "indicated") if adjusted <= THRESHOLDS[name]]
    same = _near(adjusted, f["log10_adjusted_p"]) and f["finding"] == [*reached, "nothing"][0]
    yield same, f"with {paid['students']} students paid for that is 10^{adjusted:.1f}: {f['finding']}"


def _check_opened(e: dict[str, Any], f: dict[str, Any], keys: dict[str, bytes]) -> Iterator[tuple[bool, str]]:
    o, bits, manifest = f["opened"], e["layout"]["bits"], f["opened"]["manifest"]
    stated, signature = b"signet-serial-number/1\n" + _JSON(o["statement"]).encode(), _bytes(o["statement_signature"])
    whose = (o["statement"]["customer"], o["statement"]["model"]) == (f["license"] or f["student"], e["model"])
    genuine = _signed(keys[o["issuer_key_id"]], o["statement_signature"], stated)
    yield whose and genuine, f"its number was signed for {o['statement']['customer']} on {o['statement']['issued_at']}"
    stream = HKDF(SHA256(), -(-bits // 8), None, b"signet/serial-number/1|%d" % bits).derive(signature)
    last = 8 * len(stream) - bits
    number = (int.from_bytes(stream, "big") >> last << last).to_bytes(len(stream), "big").hex()
    yield number == o["number"], "the number follows from that signature"
    unsigned = (
        b"signet-manifest/1\n%s\n" % manifest["key_id"].encode() + _JSON({**manifest, "signature": None}).encode()
    )
    digest = hashlib.sha256(b"signet/sign-mark-key/1\0" + _bytes(o["mark_key"])).hexdigest()
    fixed = _signed(keys[manifest["key_id"]], manifest["signature"], unsigned) and digest == manifest["mark_sha256"]
    yield fixed, f"the issuer fixed the key of its mark with the student, made on {manifest['created_at']}"


def _count(suspect: bytes, tensor: str, key: bytes) -> tuple[int, int]:
    (length,) = struct.unpack_from("<Q", suspect)
    entry = json.loads(suspect[8 : 8 + length])[tensor]
    (kind, width), (begin, end) = TYPES[entry["dtype"]], (8 + length + at for at in entry["data_offsets"])
    weights = struct.unpack_from(f"<{(end - begin) // width}{kind}", suspect, begin)
    drawn = hashlib.shake_256(b"signet/sign-mark/1\0" + key + tensor.encode()).digest(-(-len(weights) // 8))
    signs = (drawn[at // 8] >> (7 - at % 8) & 1 for at in range(len(weights)))
    pairs = [(weight > 0) == bool(sign) for weight, sign in zip(weights, signs, strict=True) if weight]
    return len(pairs), sum(pairs)


def _signed(public_key: bytes, signature: str, content: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(_bytes(signature), content)
    except (InvalidSignature, ValueError):
        return False
    return base64.urlsafe_b64encode(_bytes(signature)).decode().rstrip("=") == signature


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def _near(found: float, stated: float) -> bool:
    return math.isclose(found, stated, abs_tol=1e-6)


if __name__ == "__main__":
    try:
        for number, (holds, what) in enumerate(check(*(Path(name).read_bytes() for name in sys.argv[1:])), 1):
            sys.stdout.write(f"({number}) {what if holds else 'DOES NOT HOLD: ' + what}\n")
            if not holds:
                sys.exit(2)
    except Exception as error:
        sys.exit(sys.stderr.write(f"INVALID: {error!r}\n") and 2)
    sys.exit(what == "the verdict is: nobody named")
