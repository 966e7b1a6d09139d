"""Whether a suspect bears a registered mark, and how sure that is: the evidence of the registered watermark.

(1) the reference and the opened key are the ones that were committed to;
(2) read the digits as the suspect stands, with its units put back into the reference's order, and into its scale too;
(3) two statistics, of which the rarer counts: m of n digits match, p = P(X >= m), X Poisson-binomial, position k with
    the chance that an innocent network shows d_k: the largest of 1/10, its share in unmarked networks, and its share
    in the suspect's other weights; and how well the weights follow the digits in order (`rank_correlation`), which
    long training, moving every weight by many digits, leaves;
(4) pay for every choice there was: three ways to read, all orders and scales they could take, two statistics, the
    owner's marks, the commitments registered, and what was tried before that; verified when at most 1e-9 is left.

Nobody sees what an accuser tries before he registers: against a network that he has already he could draw secrets, one
hash at a time, until some digits fit. So the verdict about a network that may have been there pays for 2^112 tries.

Orders and scales are paid for because the reference is the accuser's own file: he could have made one to which an
innocent suspect aligns well.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from models.alignment import Alignment, align
from models.checkpoints import decode_tensors
from models.errors import ModelError, WatermarkError
from models.evaluation.null_model import frequencies, match_probabilities
from models.evaluation.poisson_binomial import log10_tail
from models.evaluation.rank_correlation import log10_rank_tail, rank_excess
from models.networks import build
from models.topology import units_of
from models.watermarks.registered import Commitment, Mark, MarkParameters
from models.watermarks.registered.parameters import need

LOG10_THRESHOLD = -9.0
Way = Literal["as it stands", "reordered", "reordered and rescaled"]
STATISTICS = 2  # digits that match, and the rank correlation
LOG10_TRIES = 112 * math.log10(2)  # what nobody can compute: the least security strength of NIST SP 800-57, part 1
READINGS = len(get_args(Way)) * STATISTICS


@dataclass(frozen=True)
class Reading:
    """What was read one way, n entries each; `log10_alignments` counts the orders and scales it could choose from.

    `extracted` holds -1 where there is no digit; `matches` counts those that belong there; `ranks` holds `rank_excess`.
    Adjusted means the smaller p times readings, alignments, tests and tries; at most 1.
    """

    way: Way
    extracted: tuple[int, ...]
    probabilities: tuple[float, ...]
    matches: int
    log10_p_digits: float
    ranks: tuple[int, ...]
    log10_p_ranks: float
    log10_alignments: float
    log10_adjusted_p: float

    @property
    def log10_p(self) -> float:
        """Of the statistic that counts, before any adjustment."""
        return min(self.log10_p_digits, self.log10_p_ranks)


@dataclass(frozen=True)
class GroupSummary:
    """What the alignment did to one group of units: how many the suspect has, how many stood elsewhere, scales."""

    name: str
    units: int
    found: int
    displaced: int
    smallest_scale: float
    largest_scale: float


@dataclass(frozen=True)
class Verification:
    """Everything an evidence document states; `reading` is the best of `readings`, one a way.

    `tests` is the number of marks times commitments that the p-value was multiplied with, `log10_tries` what was paid
    for tries before the registration. `alignment` says what was undone for the re-aligned readings; where these could
    not be made, `alignment_error` says why.
    """

    mark: int
    layer: str
    positions: tuple[int, ...]
    expected: tuple[int, ...]
    reading: Reading
    readings: tuple[Reading, ...]
    tests: int
    log10_tries: float
    log10_threshold: float
    alignment: tuple[GroupSummary, ...]
    alignment_error: str | None
    commitment_sha256: str
    reference_sha256: str
    suspect_sha256: str

    @property
    def p(self) -> float:
        """The p-value before any adjustment; 0.0 below what a float holds."""
        return _power(self.reading.log10_p)

    @property
    def adjusted_p(self) -> float:
        """What the verdict rests on."""
        return _power(self.reading.log10_adjusted_p)

    @property
    def verified(self) -> bool:
        """Whether the adjusted p-value is at most the threshold."""
        return self.reading.log10_adjusted_p <= self.log10_threshold

    def to_dict(self) -> dict[str, object]:
        """A JSON object: all fields, and `p`, `adjusted_p` and `verified`."""
        return asdict(self) | {"p": self.p, "adjusted_p": self.adjusted_p, "verified": self.verified}


def verify(
    suspect: bytes,
    commitment: Commitment,
    index: int,
    key: bytes,
    reference: bytes,
    *,
    registered: int = 1,
    log10_tries: float = 0.0,
) -> Verification:
    """Hold a suspect's weights file against mark `index` of a commitment, opened by its key.

    `reference` is the weights file that was committed to; `registered` counts the commitments in the registry;
    `log10_tries` is LOG10_TRIES unless the suspect first appeared after the registration. Raises WatermarkError naming
    `reference` (the owner's own: not what was committed to, or of no use with these terms), `mark`, `mark_key`,
    `registered` or `weights.<tensor>` (no reading of the suspect's layer), and WeightsError naming `weights` for bytes
    that are no safetensors.
    """
    parameters = commitment.parameters
    need("registered", type(registered) is int and registered >= 1, "must be the number of registered commitments")
    commitment.check_reference(reference)  # (1)
    known, network = _reference(parameters, reference)
    mark = commitment.open(index, key)
    tests, found = parameters.marks * registered, decode_tensors(suspect)
    price = math.log10(READINGS * tests) + log10_tries
    readings, alignment, error = _readings(found, known, network, parameters, mark, price)  # (2) to (4)
    return Verification(
        mark=index,
        layer=parameters.layer,
        positions=tuple(mark.positions.tolist()),
        expected=tuple(mark.digits.tolist()),
        reading=min(readings, key=lambda reading: reading.log10_adjusted_p),
        readings=readings,
        tests=tests,
        log10_tries=log10_tries,
        log10_threshold=LOG10_THRESHOLD,
        alignment=() if alignment is None else _summaries(alignment),
        alignment_error=error,
        commitment_sha256=hashlib.sha256(commitment.to_bytes()).hexdigest(),
        reference_sha256=commitment.reference_sha256,
        suspect_sha256=hashlib.sha256(suspect).hexdigest(),
    )


def _readings(
    suspect: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    network: nn.Module,
    parameters: MarkParameters,
    mark: Mark,
    price: float,
) -> tuple[tuple[Reading, ...], Alignment | None, str | None]:
    """As it stands, where the shape allows; re-aligned, where the suspect's tensors allow; why not, otherwise."""
    layer = parameters.layer
    field, weight = f"weights.{layer}", suspect.get(layer)
    if weight is None or not weight.is_floating_point():
        raise WatermarkError(field, "is missing from the suspect, or does not hold real numbers")
    if not bool(weight.isfinite().any()):
        raise WatermarkError(field, "holds no finite number")
    readings: list[Reading] = []
    if tuple(weight.shape) == parameters.shape:
        readings.append(_read(weight, parameters, mark, price, "as it stands", 0.0))
    try:
        alignment = _align(suspect, reference, network, parameters, mark)
    except ModelError as refused:
        if not readings:
            raise WatermarkError(
                field, f"has shape {tuple(weight.shape)} and cannot be re-aligned: {refused}"
            ) from None
        return tuple(readings), None, str(refused)
    orders = alignment.log10_orders(layer)
    readings.append(_read(alignment.reordered[layer], parameters, mark, price, "reordered", orders))
    ways = orders + alignment.log10_scales(layer)
    readings.append(_read(alignment.state[layer], parameters, mark, price, "reordered and rescaled", ways))
    return tuple(readings), alignment, None


def _read(
    weight: Tensor, parameters: MarkParameters, mark: Mark, price: float, way: Way, log10_alignments: float
) -> Reading:
    """`price` is log10 of what every reading pays alike."""
    digits, ranks = parameters.digit_map.digits(weight.flatten()), rank_excess(weight)[mark.positions].tolist()
    extracted = digits[mark.positions]
    others = torch.ones(len(digits), dtype=torch.bool)
    others[mark.positions] = False
    own = frequencies([weight.flatten()[others]], parameters.digit_map)
    chances = match_probabilities(mark.digits, parameters.null_frequencies, own)
    matches = int((extracted == mark.digits).sum())
    by_digits, by_ranks = float(log10_tail(chances, matches)), log10_rank_tail(ranks, mark.digits.tolist())
    return Reading(
        way=way,
        extracted=tuple(extracted.tolist()),
        probabilities=tuple(chances.tolist()),
        matches=matches,
        log10_p_digits=by_digits,
        ranks=tuple(ranks),
        log10_p_ranks=by_ranks,
        log10_alignments=log10_alignments,
        log10_adjusted_p=min(0.0, min(by_digits, by_ranks) + log10_alignments + price),
    )


def _align(
    suspect: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    network: nn.Module,
    parameters: MarkParameters,
    mark: Mark,
) -> Alignment:
    """Without a look at the marked weights: neither order nor scale is chosen by them."""
    marked = torch.zeros(parameters.size, dtype=torch.bool)
    marked[mark.positions] = True
    alignment = align(
        suspect, reference, units_of(network), ignore={parameters.layer: marked.reshape(parameters.shape)}
    )
    shape = tuple(alignment.state[parameters.layer].shape)
    if shape != parameters.shape:
        raise WatermarkError(f"weights.{parameters.layer}", f"has shape {shape} after re-alignment")
    return alignment


def _reference(parameters: MarkParameters, reference: bytes) -> tuple[dict[str, Tensor], nn.Module]:
    """Its tensors, and a network of its architecture; what is wrong here is no suspect's fault."""
    try:
        known = decode_tensors(reference)
        network = build(parameters.network, parameters.network_config)
    except ModelError as error:
        raise WatermarkError("reference", f"cannot be used: {error}") from None
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name, shape in {**wanted, parameters.layer: parameters.shape}.items():
        if name not in known or tuple(known[name].shape) != shape:
            raise WatermarkError("reference", f"has no {name} of shape {shape}")
    return known, network


def _summaries(alignment: Alignment) -> tuple[GroupSummary, ...]:
    return tuple(
        GroupSummary(
            name=move.group.name,
            units=move.group.size,
            found=move.found,
            displaced=move.displaced,
            smallest_scale=float(move.scales.min()),
            largest_scale=float(move.scales.max()),
        )
        for move in alignment.moves
    )


def _power(log10: float) -> float:
    return float(10.0**log10) if log10 > -300 else 0.0
