"""Read digits and ranks in a suspect's file for yourself: python suspect.py EVIDENCE SUSPECT
Needs Python 3.11 alone. That the evidence is genuine, evidence.py finds out; here, that the file shows what it says.
Exit code 0: it does, 1: the digits cannot be read here, 2: it does not, or is another file."""

import hashlib
import json
import math
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TYPES = {"F64": ("d", 8), "F32": ("f", 4), "F16": ("e", 2), "BF16": ("H", 2)}  # as struct calls them, bytes


class NotRead(Exception):
    """The digits cannot be read here; why."""


def check(evidence: bytes, suspect: bytes) -> Iterator[tuple[bool, str]]:
    """Step by step, whether it holds and what; NotRead where the digits cannot be read here."""
    e = json.loads(evidence)
    terms = e["commitment"]["statement"]["parameters"]
    yield hashlib.sha256(suspect).hexdigest() == e["suspect_sha256"], "the suspect's file is the one that was read"
    if e["reading"] != "as it stands":
        raise NotRead(f"they were read with the suspect {e['reading']}, which takes the owner's weights file as well")
    weights = _weights(suspect, terms)
    digits = _digits(weights, **terms["digit_map"])
    found = [digits[position] for position in e["positions"]]
    yield found == e["extracted"], f"{terms['layer']} holds the {len(found)} digits that the evidence says it holds"
    marked, counts = set(e["positions"]), [1] * 10
    others = [digit for position, digit in enumerate(digits) if position not in marked]
    for digit in others:
        if digit >= 0:
            counts[digit] += 1
    own = [count / (len(others) + 10) for count in counts]
    chances = [max(0.1, own[digit], terms["null_frequencies"][digit]) for digit in e["expected"]]
    close = all(math.isclose(*pair, rel_tol=1e-9) for pair in zip(chances, e["probabilities"], strict=True))
    yield close, "the chances take in how often these digits are found in the rest of the layer"
    order = sorted(weight for weight in weights if not math.isnan(weight))
    ranks = [_rank(weights[position], order) for position in e["positions"]]
    yield ranks == e["ranks"], "the weights have the ranks in their layer that the evidence says they have"
    yield e["adjustments"]["log10_alignments"] == 0, "nothing was re-aligned, so that nothing is to be paid for that"


def _weights(suspect: bytes, terms: dict[str, Any]) -> tuple[float, ...]:
    """The layer's, from the safetensors file."""
    (length,) = struct.unpack_from("<Q", suspect)
    entry = json.loads(suspect[8 : 8 + length])[terms["layer"]]
    if entry["shape"] != terms["shape"] or entry["dtype"] not in TYPES:
        raise NotRead(f"the layer is of type {entry['dtype']} and shape {entry['shape']}")
    kind, width = TYPES[entry["dtype"]]
    begin, end = (8 + length + offset for offset in entry["data_offsets"])
    weights = struct.unpack_from(f"<{(end - begin) // width}{kind}", suspect, begin)
    if entry["dtype"] == "BF16":  # the upper half of a float32
        weights = struct.unpack(f"<{len(weights)}f", b"".join(struct.pack("<HH", 0, half) for half in weights))
    return weights


def _digits(weights: Sequence[float], a: float, b: float) -> list[int]:
    """The digit of each weight, -1 for none."""
    rounded = (round(digit) if math.isfinite(digit := a * weight + b) else -1 for weight in weights)
    return [digit if 0 <= digit <= 9 else -1 for digit in rounded]


def _rank(weight: float, order: list[float]) -> int:
    """How many of the layer's weights are smaller, less how many are larger."""
    return 0 if math.isnan(weight) else bisect_left(order, weight) - len(order) + bisect_right(order, weight)


if __name__ == "__main__":
    try:
        for number, (holds, what) in enumerate(check(*(Path(name).read_bytes() for name in sys.argv[1:])), 1):
            sys.stdout.write(f"({number}) {what if holds else 'DOES NOT HOLD: ' + what}\n")
            if not holds:
                sys.exit(2)
    except NotRead as reason:
        sys.stdout.write(f"The digits CANNOT BE READ HERE, so they are the issuer's word: {reason}\n")
        sys.exit(1)
    except Exception as error:
        sys.exit(sys.stderr.write(f"INVALID: {error!r}\n") and 2)
