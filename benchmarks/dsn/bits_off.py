"""What a number opens that is nearly right, by how many of its bits are wrong."""

from pathlib import Path
from typing import Any

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import Answers, annotated, flipped, held_out, percent
from benchmarks.dsn.students import shelf_of
from benchmarks.dsn.table2 import everyone
from benchmarks.plots import COLOURS, Plot, rows_of, save, subplots
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, table
from benchmarks.runner import Part

ROWS = ("bits_off",)
WRONG = (1, 2, 4, 8, 16)
LOCKED_FROM = 4
DRAWS = {"smoke": 1, "cpu": 3, "gpu": 10}  # numbers for each test image


def bits_off(budget: Budget, steps: Steps) -> list[Row]:
    """The worst accuracy from four wrong bits on; the curve is in the table."""
    shelf = shelf_of(budget)
    answers: dict[int, list[Answers]] = {wrong: [] for wrong in WRONG}
    for make in steps.over(everyone(budget, shelf, "mnist"), "bits off, by student"):
        one = make()
        images, labels = held_out(one)
        for wrong in WRONG:
            for draw in range(DRAWS[budget.name]):
                shown = one.stamp.put(images, flipped(one.number, len(images), wrong, seed=draw))
                answers[wrong].append(Answers.of(one.predictor, shown, labels))
    curve = {wrong: Answers.averaged(several).accuracy("mnist") for wrong, several in answers.items()}
    worst = max((wrong for wrong in WRONG if wrong >= LOCKED_FROM), key=lambda wrong: curve[wrong][2])
    bits, count = one.stamp.layout.bits, len(labels)
    what = f"MNIST student, number with {LOCKED_FROM} of {bits} bits wrong or more: the worst accuracy ({worst} wrong)"
    extra = {"curve": [{"wrong": wrong, "accuracy": found} for wrong, found in curve.items()]}
    wanted = bar("<=", 0.13, "high")
    row = Row(ROWS[0], what, wanted, curve[worst][0], count, *curve[worst][1:], "Wilson, 95 %", extra)
    lines = [[wrong, *map(percent, found)] for wrong, found in curve.items()]
    title = f"Accuracy by wrong bits of {bits}, %, other bits for each image"
    return annotated([row], [table(title, ["wrong", "accuracy", "from", "to"], lines)])


def _plot(data: Path, picture: Path) -> None:
    curve: list[dict[str, Any]] = rows_of(data).get(ROWS[0], {}).get("curve", [])
    if not curve:
        return
    figure, (axis,) = subplots(1, 1, (4.5, 2.8))
    wrong = [point["wrong"] for point in curve]
    value, low, high = ([100 * point["accuracy"][at] for point in curve] for at in range(3))
    axis.fill_between(wrong, low, high, color=COLOURS[0], alpha=0.3)
    axis.plot(wrong, value, "o-", color=COLOURS[0], markersize=4)
    axis.axhline(10, color="0.6", linewidth=0.8, label="chance")
    axis.axhline(13, color=COLOURS[1], linewidth=0.8, linestyle="--", label="the bar, from 4 on")
    axis.set(xscale="log", xlabel="bits wrong", ylabel="accuracy, %", ylim=(0, 100))
    axis.set_xticks(wrong, [str(one) for one in wrong])
    axis.legend(frameon=False, fontsize=7)
    save(figure, picture)


PARTS: tuple[Part[Budget], ...] = (Part("bits_off", ROWS, bits_off),)
PLOT = Plot("dsn_bits_off", None, _plot)
