"""Accusations that must fail: honest ones against the wrong network, and a dishonest accuser who grinds."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks import batch
from benchmarks.activeguard.marks.counting import share_row
from benchmarks.activeguard.marks.innocents import digits_of, innocents, ranks_of
from benchmarks.activeguard.marks.networks import (
    LAYER,
    REGISTERED_LAYER,
    Owned,
    digest,
    nonce,
    plain,
    published,
    schedule_of,
    strong,
    trained_on,
)
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row
from benchmarks.statistics import exact
from models.attacks.obfuscation import permute, rescale_units
from models.checkpoints import encode_weights
from models.evaluation.ownership import LOG10_THRESHOLD, READINGS, Verification, verify
from models.watermarks import registered
from models.watermarks.digit_map import DigitMap

FALSE, GROUND = ("false_ownership",), ("ground",)
VERIFICATIONS = {"smoke": 12, "cpu": 1_000, "gpu": 1_000}
PIECE = 25
CLAIMS = 6  # beside each owner's own


@dataclass(frozen=True)
class Claim:
    """A commitment with its opened marks; `whose` is the seed of the network that bears them, if one does."""

    whose: int | None
    commitment: registered.Commitment
    marks: tuple[registered.Mark, ...]
    reference: bytes


def false_ownership(budget: Budget, steps: Steps) -> list[Row]:
    """Marks held against networks that do not bear them, through the verification that a dispute uses."""
    bases, shelf, seeds = Shelf.of(budget, "marks"), Shelf.of(budget, "marks"), range(schedule_of(budget).attacked)
    owners = {seed: strong(budget, bases, seed) for seed in seeds}
    suspects = list(_suspects(budget, bases, owners))
    pairs = [
        (suspect, claim, mark)
        for claim in _claims(owners)
        for _, whose, suspect in suspects
        if claim.whose is None or claim.whose != whose
        for mark in claim.marks
    ]
    order = np.random.default_rng(8).permutation(len(pairs))[: VERIFICATIONS[budget.name]]
    found: list[tuple[bool, float]] = []
    for start in steps.over(range(0, len(order), PIECE), "false ownership, by piece"):
        rows = order[start : start + PIECE]
        recipe = (READINGS, len(pairs), rows.tolist(), [digest(owner.network) for owner in owners.values()])
        measure = partial(_verified, [pairs[row] for row in rows])
        found += shelf.piece(f"false-ownership-{start}", recipe, measure)["found"]
    extra = {
        "resumed_core_minutes": shelf.minutes,
        "suspects": sorted({name for name, *_ in suspects}),
        "best_log10_adjusted_p": min(log10_p for _, log10_p in found),
        "claims": "marks in other networks than the suspect, and marks that were registered and never embedded",
    }
    what = "registered marks held against unmarked networks and networks that others marked: share verified"
    return [share_row("false_ownership", what, [verified for verified, _ in found], extra, wanted=0.0)]


def _verified(pairs: list[tuple[nn.Module, Claim, registered.Mark]]) -> Piece:
    verdicts = [
        verify(encode_weights(suspect), claim.commitment, mark.index, mark.key, claim.reference)
        for suspect, claim, mark in pairs
    ]
    return {"found": [(verdict.verified, verdict.reading.log10_adjusted_p) for verdict in verdicts]}


def _claims(owners: dict[int, Owned]) -> Iterator[Claim]:
    """Each owner's own, and further ones on his terms but for the nonce, by secrets that mark no network."""
    for seed, owned in owners.items():
        yield Claim(seed, owned.commitment, owned.marks, owned.reference)
        for number in range(CLAIMS):
            name = f"claim {seed}.{number}"
            parameters = replace(owned.commitment.parameters, nonce=nonce(name))
            marks = registered.derive_marks(hashlib.sha256(name.encode()).digest(), parameters)
            yield Claim(None, registered.commit(parameters, marks, owned.reference), marks, owned.reference)


def _suspects(budget: Budget, shelf: Shelf, owners: dict[int, Owned]) -> Iterator[tuple[str, int | None, nn.Module]]:
    """Name, whose mark of the strong form it bears (None: nobody's), network."""
    for name, network in innocents(budget, shelf).items():
        yield name, None, network
    for seed, owned in owners.items():
        yield f"registered marks, seed {seed}", seed, owned.network
        yield f"control, seed {seed}", None, trained_on(budget, shelf, seed)
        for scratch in (True, False):
            name = f"published marks, seed {seed}, {'from scratch' if scratch else 'fine-tuned'}"
            yield name, None, published(budget, shelf, seed, scratch=scratch).network
        generator = torch.Generator().manual_seed(seed)
        changed = rescale_units(permute(plain(budget, shelf, seed), generator=generator), generator=generator)
        yield f"plain, permuted and rescaled, seed {seed}", None, changed


@dataclass(frozen=True, slots=True)
class Grinding:
    """Statements tried, each with a map and a length of its own, and keys with each."""

    statements: int
    keys: int


GRINDING = {"smoke": Grinding(20, 200), "cpu": Grinding(1_000, 1_000), "gpu": Grinding(1_000, 1_000)}
LENGTHS = {LAYER: (64, 128, 256), REGISTERED_LAYER: (64, 256, 3_200)}  # digits of a mark
BEST = 20  # tries that are then verified for real


@dataclass(frozen=True)
class Try:
    """What he would register: terms and a key, and the p that he counts on before any adjustment."""

    p: float
    parameters: registered.MarkParameters
    key: bytes


def ground(budget: Budget, steps: Steps) -> list[Row]:
    """An accuser who knows the suspect before he commits, and whose reference is the suspect itself.

    Statement, map, number of digits and key are his to try, and each draws the positions anew; he commits to one mark,
    so that he pays for no other, and claims that every digit is as common as any.
    """
    sizes, rng = GRINDING[budget.name], np.random.default_rng(9)
    suspect = plain(budget, Shelf.of(budget, "marks"), 0)
    tries: list[Try] = []
    for number in steps.over(range(sizes.statements), "statements, maps and keys"):
        parameters = _statement(suspect, number, rng)
        keys = [rng.bytes(registered.marks.KEY) for _ in range(sizes.keys)]
        tries = sorted([*tries, *_promising(suspect, parameters, keys)], key=lambda one: one.p)[:BEST]
    found = [_accuse(suspect, one) for one in tries]
    tried = sizes.statements * sizes.keys
    best = min(one.reading.log10_adjusted_p for one in found)
    extra = {
        "best_log10_adjusted_p": best,
        "best_adjusted_p": 10**best,
        "best_log10_p": min(np.log10(one.p) for one in tries),
        "threshold": LOG10_THRESHOLD,
        "readings_paid_for": READINGS,
        "verified_for_real": len(found),
        "suspect": "the plain network of seed 0, known to the accuser, and his reference as well",
        "tries_paid_for": "none: the accuser says that the suspect is younger, and is believed",
    }
    what = "accusations ground out against one unmarked network, statements, keys and maps: share verified"
    row = share_row("ground", what, [one.verified for one in found], extra, wanted=0.0)
    return [replace(row, n=tried, high=exact(0, tried)[1])] if not row.value else [row]


def _statement(suspect: nn.Module, number: int, rng: np.random.Generator) -> registered.MarkParameters:
    layer = str(rng.choice(list(LENGTHS)))
    digits = int(rng.choice(LENGTHS[layer]))
    shape, digit_map = tuple(suspect.get_parameter(layer).shape), _map(suspect, layer, rng)
    name = f"mine {number}"
    return registered.MarkParameters(
        name, "lenet5", {}, layer, shape, digit_map, digits=digits, marks=1, nonce=nonce(name)
    )


def _map(suspect: nn.Module, layer: str, rng: np.random.Generator) -> DigitMap:
    """Nine digits over half to six standard deviations, off the centre by up to one of them."""
    spread = float(suspect.get_parameter(layer).detach().std())
    a = 9 / (spread * np.exp(rng.uniform(np.log(0.5), np.log(6.0))))
    return DigitMap(float(a), float(4.5 + a * spread * rng.uniform(-1.0, 1.0)))


def _promising(suspect: nn.Module, parameters: registered.MarkParameters, keys: list[bytes]) -> list[Try]:
    """The three keys with most matches, whose chances hardly differ from key to key, and three by rank."""
    marks = batch.open_marks(parameters, 0, keys)
    digits, ranks = digits_of(suspect, parameters.layer, parameters.digit_map), ranks_of(suspect, parameters.layer)
    most = batch.matching(digits, marks).argsort()[-3:]
    by_digits = batch.read(digits, marks.take(most), parameters.null_frequencies).tail()
    by_ranks = 10.0 ** batch.log10_rank_tails(ranks, marks)
    best = by_ranks.argsort()[:3]
    pairs = [*zip(by_digits, most, strict=True), *zip(by_ranks[best], best, strict=True)]
    return [Try(float(p), parameters, keys[row]) for p, row in pairs]


def _accuse(suspect: nn.Module, one: Try) -> Verification:
    file = encode_weights(suspect)
    mark = registered.open_mark(one.parameters, 0, one.key)
    return verify(file, registered.commit(one.parameters, [mark], file), 0, one.key, file)
