"""Does the published form lock? Both losses as in the paper, over lambda and its schedule."""

from dataclasses import replace
from itertools import product
from statistics import mean
from typing import Any

import torch

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import Answers, annotated, held_out, percent, random_numbers
from benchmarks.dsn.students import (
    PAPER_LAYOUT,
    PRECISION,
    Student,
    digest,
    images,
    kind_of,
    number_of,
    shelf_of,
    teacher,
)
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import REPORTED, Row, table
from benchmarks.runner import Part
from benchmarks.statistics import exact
from models.predictor import Predictor
from models.serial_numbers import dsn
from models.serial_numbers.dsn import Stamp
from models.training import initialise

ROWS = ("published",)
STRENGTHS = {"smoke": (1.0,), "cpu": (0.1, 1.0, 3.0), "gpu": (0.1, 0.3, 1.0, 3.0)}
SCHEDULES = ("constant", "ganin")
SEEDS = {"smoke": 1, "cpu": 3, "gpu": 3}
LOSS, BEYOND = 0.005, 0.02  # of accuracy: what the teacher may be ahead with the stamp, what may be left without

Cell = dict[str, float]


def published(budget: Budget, steps: Steps) -> list[Row]:
    """How many of the runs lock, and a table of what each setting comes to."""
    shelf, runs = (
        Shelf.of(budget, "published"),
        list(product(STRENGTHS[budget.name], SCHEDULES, range(SEEDS[budget.name]))),
    )
    taught_by = teacher(budget, shelf_of(budget), "mnist")
    found: dict[tuple[float, str], list[Cell]] = {}
    for strength, schedule, seed in steps.over(runs, "the published form"):
        cell = _run(budget, shelf, taught_by, strength, schedule, seed)
        found.setdefault((strength, schedule), []).append(cell)
    verdicts = [locks(cell) for cells in found.values() for cell in cells]
    what = (
        "the published form on MNIST, 3 x 3 in the corner, over lambda and its schedule: share of runs within 0.5 "
        "points of the teacher with the stamp and within 2 of chance without and with wrong ones"
    )
    n, locked = len(verdicts), sum(verdicts)
    extra = {"seeds": SEEDS[budget.name], "resumed_core_minutes": shelf.minutes}
    row = Row(ROWS[0], what, REPORTED, locked / n, n, *exact(locked, n), "exact, 95 %", extra)
    return annotated([row], [_table(found)])


def locks(cell: Cell) -> bool:
    """Whether a run keeps the teacher's accuracy with the stamp, and chance otherwise."""
    return cell["stamped"] >= cell["teacher"] - LOSS and max(cell["raw"], cell["wrong"]) <= 0.1 + BEYOND


def _run(budget: Budget, shelf: Shelf, taught_by: Predictor, strength: float, schedule: Any, seed: int) -> Cell:
    kind, dataset = kind_of(budget, "mnist"), images(budget, "mnist")
    config = replace(kind.published, strength=strength, schedule=schedule, seed=seed)
    stamp = Stamp(PAPER_LAYOUT, dataset.input_spec)
    number = number_of(dataset, stamp, f"customer {seed}")

    def measure() -> Piece:
        network = kind.blank()
        initialise(network, 50 + seed)
        dsn.distil(network, taught_by, dataset, stamp, number, config, precision=PRECISION)
        predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
        return _asked(Student("published", predictor, number, stamp, taught_by, dataset))

    recipe = (digest(taught_by.network), config, stamp.layout, number.tolist(), PRECISION)
    return shelf.piece(f"{schedule}-{strength:g}-{seed}", recipe, measure)


def _asked(one: Student) -> Cell:
    shown, labels = held_out(one)
    wrong = one.stamp.put(shown, random_numbers(one, len(shown)))
    asked = {"stamped": one.stamp.put(shown, one.number), "raw": shown, "wrong": wrong}
    found = {name: Answers.of(one.predictor, some, labels) for name, some in asked.items()}
    found["teacher"] = Answers.of(one.teacher, shown, labels)
    with torch.inference_mode():
        return {name: answers.accuracy("mnist")[0] for name, answers in found.items()}


def _table(found: dict[tuple[float, str], list[Cell]]) -> dict[str, object]:
    def cell(cells: list[Cell], name: str) -> str:
        values = [one[name] for one in cells]
        return f"{percent(mean(values))} ({percent(min(values))} to {percent(max(values))})"

    lines = [
        [
            f"{strength:g}",
            schedule,
            *(cell(cells, name) for name in ("stamped", "raw", "wrong")),
            sum(map(locks, cells)),
        ]
        for (strength, schedule), cells in found.items()
    ]
    columns = ["lambda", "schedule", "with stamp", "raw", "wrong stamp", "runs that lock"]
    return table("Does the published form lock? MNIST, %, mean (least to most over seeds)", columns, lines)


PARTS: tuple[Part[Budget], ...] = (Part("published_form", ROWS, published),)
