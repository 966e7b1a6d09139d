"""Looking for what opens a student, with a tenth of the data: its number by gradient, by flips or by guessing, and
anything else that does, an image added to every input or an affine map of every pixel."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import Answers, annotated, held_out, percent, random_numbers, shown
from benchmarks.dsn.students import Student, digest, kind_of, shelf_of, student
from benchmarks.dsn.thieves import FRONT, SCRATCH, Thieves, described, gains, plan_of
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, bars, table
from benchmarks.runner import Part
from benchmarks.statistics import exact, t_interval, wilson
from models.attacks.stamp_search import Search, front_end, greedy_flips, leaky_bits, soft_bits
from models.data import Split
from models.predictor import Predictor, predict

SEARCHES = {"smoke": Search(steps=5, restarts=1), "cpu": Search(batch_size=100), "gpu": Search(steps=1_000)}
GUESSES = {"smoke": 50, "cpu": 10_000, "gpu": 100_000}
GUESSED_ON, BEST = 100, 10  # images each guess is tried on; how many of the best are then tested
SHARE = 10
LEAK = 0.2  # of the frozen network at the beginning of a search
NUMBERS = ("soft_bits", "greedy_flips", "leaky_bits")
FRONTS = ("image", "affine", "leaky_affine")
ROWS = (*(f"search_{name}_bits" for name in NUMBERS), *(f"search_{name}" for name in (*NUMBERS, *FRONTS, "guesses")))
FREE_ROWS = ("search_affine_free",)
CHANCE, BEYOND = 0.1, 0.03
_WHAT = {
    "soft_bits": "the number, by gradient through soft bits",
    "greedy_flips": "the number, by greedy flips",
    "leaky_bits": "the number, by gradient through soft bits and activations that leak",
    "image": "an image added to every input, by gradient",
    "affine": "an affine map of every pixel, by gradient, the network frozen",
    "leaky_affine": "an affine map of every pixel, by gradient through activations that leak, the network frozen",
    "guesses": "random numbers, the best of them",
}


@dataclass(frozen=True)
class Found:
    """What one search came to against one student: bits agreed on (None where none are looked for), images right."""

    bits: int | None
    right: int


def search(budget: Budget, steps: Steps) -> list[Row]:
    """Bits agreed on and accuracy reached, over all students."""
    shelf, count = Shelf.of(budget, "search"), kind_of(budget, "mnist").students
    found: dict[str, list[Found]] = {}
    tests = 0
    for index in steps.over(range(count), "stamp search, by student"):
        one = student(budget, shelf_of(budget), "mnist", index)
        tests = len(one.dataset.test)
        for name in steps.over(list(_WHAT), f"student {index}"):
            found.setdefault(name, []).append(_search(budget, shelf, one, name))
    bits = len(one.number)
    rows = [_bits_row(name, found[name], bits) for name in NUMBERS]
    rows += [_accuracy_row(name, several, tests) for name, several in found.items()]
    restarts = SEARCHES[budget.name].restarts
    columns = ["looked for", "bits agreed on", "accuracy, %"]
    title = f"Stamp search with {SHARE} % of MNIST's images, {restarts} restarts; {GUESSES[budget.name]:,} guesses"
    lines = [_line(name, several, bits, tests) for name, several in found.items()]
    minutes = shelf.minutes / len(rows)
    return annotated(rows, [table(title, columns, lines)], restarts=restarts, resumed_core_minutes=minutes)


def search_free(budget: Budget, _: Steps) -> list[Row]:
    """The affine map before a network that learns along: a thief who trains, so it is held against scratch."""
    thieves = Thieves.of(budget)
    seeds = range(min(5, plan_of(budget, SHARE).seeds))
    found, scratch = (thieves.runs(side, SHARE, seeds) for side in (FRONT, SCRATCH))
    gained = gains(found, scratch)
    what = (
        f"an affine map of every pixel before a student whose weights learn along, with {SHARE} % of MNIST's images: "
        "it retrains, so its accuracy is no lock's to hold; less scratch with the same, both tuned, points"
    )
    extra = {
        "accuracy": mean(run.test for run in found),
        "scratch": mean(run.test for run in scratch),
        "gains": gained,
        "settings": {side: described(thieves.setting(side, SHARE)) for side in (FRONT, SCRATCH)},
        "resumed_core_minutes": thieves.shelf.minutes,
    }
    wanted = bars(bar("<=", 0), bar("<", 1, "high"))
    how = "Student's t over seeds, 95 %"
    return [Row(FREE_ROWS[0], what, wanted, mean(gained), len(gained), *t_interval(gained), how, extra)]


def _search(budget: Budget, shelf: Shelf, one: Student, name: str) -> Found:
    settings, guesses = SEARCHES[budget.name], GUESSES[budget.name]
    what = (guesses, GUESSED_ON, BEST) if name == "guesses" else settings

    def measure() -> Piece:
        own = one.dataset.train
        few = own.take(np.random.default_rng(0).permutation(len(own))[: len(own) * SHARE // 100])
        if name == "guesses":
            return {"bits": None, "right": guessed(one, few, guesses)}
        bits, change, predictor = _found(one, few, name, settings)  # in float32: what a bit tells may be faint
        images, labels = held_out(one)
        with torch.inference_mode():
            answers = Answers.of(predictor, change(images), labels)
        return {"bits": bits, "right": int(answers.right.sum())}

    return Found(**shelf.piece(f"{one.name}-{name}", (digest(one.predictor.network), SHARE, what), measure))


def _found(
    one: Student, few: Split, name: str, settings: Search
) -> tuple[int | None, Callable[[Tensor], Tensor], Predictor]:
    """Bits agreed on, what is done to inputs, and the predictor that is then asked."""
    if name in NUMBERS:
        attack = {"soft_bits": soft_bits, "greedy_flips": greedy_flips, "leaky_bits": leaky_bits}[name]
        number = attack(one.predictor, few, one.stamp, settings)
        agreed = int((number == one.number).sum())
        return agreed, lambda images: one.stamp.put(images, number), one.predictor
    leak = LEAK if name == "leaky_affine" else 0.0
    return None, *front_end(one.predictor, few, settings, affine=name != "image", leak=leak)


def guessed(one: Student, few: Split, guesses: int) -> int:
    """Test images right with the best of so many numbers: the ones that do best on some images are tested."""
    tried = shown(few.take(np.arange(min(GUESSED_ON, len(few)))), one.predictor)
    labels = torch.from_numpy(few.labels[: len(tried)])
    numbers, reached = random_numbers(one, guesses, seed=1), []
    for number in numbers:
        reached.append(int((predict(one.predictor, one.stamp.put(tried, number)).argmax(dim=1) == labels).sum()))
    images, truth = held_out(one)
    best = torch.tensor(reached).argsort(descending=True, stable=True)[:BEST]
    return max(int(Answers.of(one.predictor, one.stamp.put(images, numbers[at]), truth).right.sum()) for at in best)


def _bits_row(name: str, several: list[Found], bits: int) -> Row:
    agreed, n = sum(one.bits or 0 for one in several), bits * len(several)
    what = f"MNIST student, {_WHAT[name]}: share of the number's bits that the best restart has right"
    return Row(f"search_{name}_bits", what, bar("<=", 0.5, "low"), agreed / n, n, *exact(agreed, n), "exact, 95 %", {})


def _accuracy_row(name: str, several: list[Found], tests: int) -> Row:
    right = mean(one.right for one in several)  # of the same images
    what = f"MNIST student, {_WHAT[name]}: accuracy with what was found"
    wanted = bar("<=", CHANCE + BEYOND, "high")
    return Row(f"search_{name}", what, wanted, right / tests, tests, *wilson(right, tests), "Wilson, 95 %", {})


def _line(name: str, several: list[Found], bits: int, tests: int) -> list[str]:
    agreed = ", ".join(f"{one.bits} of {bits}" for one in several if one.bits is not None)
    return [_WHAT[name], agreed, ", ".join(percent(one.right / tests) for one in several)]


PARTS: tuple[Part[Budget], ...] = (
    Part("search", ROWS, search),
    Part("search_free", FREE_ROWS, search_free),
)
