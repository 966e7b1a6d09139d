"""A legal customer as thief: he has the number, so the lock does not hold him. What remains is his number's trace."""

from dataclasses import replace
from statistics import mean

import numpy as np

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import Answers, annotated, held_out, percent, shown
from benchmarks.dsn.students import Student, digest, kind_of, shelf_of, student
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import REPORTED, Row, table
from benchmarks.runner import Part
from benchmarks.statistics import wilson
from models.attacks.legal_customer import distilled, folded
from models.training import TrainingConfig

ROWS = ("legal_customer",)
SHARE = 0.1  # of as many images as the owner trained on, without labels, and not the owner's
TRAINING = {
    "smoke": TrainingConfig(epochs=1, batch_size=50, learning_rate=1e-3),
    "cpu": TrainingConfig(epochs=20, batch_size=50, learning_rate=1e-3),
    "gpu": TrainingConfig(epochs=60, batch_size=50, learning_rate=1e-3),
}
WAYS = {
    "with the stamp, as licensed": "",
    "raw images, the number folded in front of the network": "weights and number; no data, no training",
    "raw images, taught the student's own answers": f"weights, number, {SHARE:.0%} of the data without labels",
}


def legal_customer(budget: Budget, steps: Steps) -> list[Row]:
    """Accuracy on raw images with the number folded in; the table has the rest."""
    shelf, counts = Shelf.of(budget, "legal"), {way: [] for way in WAYS}
    for index in steps.over(range(kind_of(budget, "mnist").students), "legal customer, by student"):
        one = student(budget, shelf_of(budget), "mnist", index)
        tests = len(one.dataset.test)
        recipe = (digest(one.predictor.network), SHARE, TRAINING[budget.name])
        piece = shelf.piece(one.name, recipe, lambda one=one: _measured(budget, one))
        for way in WAYS:
            counts[way].append(piece[way])
    right = mean(counts["raw images, the number folded in front of the network"])  # of the same images
    what = (
        "MNIST, accuracy on raw images of a customer who folds his number into the network: the lock does not hold "
        "him, only the trace of his number does; no bar"
    )
    row = Row(ROWS[0], what, REPORTED, right / tests, tests, *wilson(right, tests), "Wilson, 95 %", {})
    lines = [[way, knows, percent(mean(counts[way]) / tests)] for way, knows in WAYS.items()]
    tables = [table("A legal customer as thief, MNIST", ["what he shows it", "what he needs", "accuracy, %"], lines)]
    return annotated([row], tables, resumed_core_minutes=shelf.minutes)


def _measured(budget: Budget, one: Student) -> Piece:
    images, labels = held_out(one)
    spare = one.dataset.calibration
    few = spare.take(np.arange(min(len(spare), int(SHARE * len(one.dataset.train)))))
    training = replace(TRAINING[budget.name], seed=1)
    taught = distilled(one.predictor, shown(few, one.predictor), one.stamp, one.number, training)
    answers = (
        Answers.of(one.predictor, one.stamp.put(images, one.number), labels),
        Answers.of(folded(one.predictor, one.stamp, one.number), images, labels),
        Answers.of(taught, images, labels),
    )
    return {way: int(each.right.sum()) for way, each in zip(WAYS, answers, strict=True)}


PARTS: tuple[Part[Budget], ...] = (Part("legal", ROWS, legal_customer),)
