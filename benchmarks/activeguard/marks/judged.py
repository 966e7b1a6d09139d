"""Marked networks under attacks that need no training: accuracy and findings, kept as each seed is done."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from torch import nn

from benchmarks.activeguard.budgets import Budget
from benchmarks.activeguard.marks.networks import Finding, Marked, digest, images, published, strong, test_accuracy
from benchmarks.kept import Piece, Shelf
from models.evaluation.ownership import READINGS

Attack = Callable[[Marked], nn.Module]


@dataclass(frozen=True, slots=True)
class Judged:
    """One suspect: the attack, whose network it was (published or strong), and what the owner's marks say."""

    attack: str
    whose: str
    accuracy: float
    findings: dict[str, Finding]


def judged(budget: Budget, shelf: Shelf, name: str, seed: int, attacks: Mapping[str, Attack]) -> list[Judged]:
    """Both networks of a seed under every attack; what that took is the shelf's, what made the networks is not."""
    bases = Shelf.of(budget, "marks")
    marked: dict[str, Marked] = {
        "published": published(budget, bases, seed, scratch=True),
        "strong": strong(budget, bases, seed),
    }

    def measure() -> Piece:
        dataset, found = images(budget), []
        for attack, change in attacks.items():
            for whose, one in marked.items():
                suspect = change(one)
                found.append(Judged(attack, whose, test_accuracy(suspect, dataset), one.findings(suspect)))
        return {"judged": [asdict(each) for each in found]}

    recipe = ("judged", READINGS, list(attacks), [digest(one.network) for one in marked.values()])
    return [
        Judged(**{**each, "findings": {mark: Finding(**finding) for mark, finding in each["findings"].items()}})
        for each in shelf.piece(f"{name}-{seed}", recipe, measure)["judged"]
    ]
