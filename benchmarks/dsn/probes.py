"""What can be learned from a locked student's answers to raw images: a line and a small network on its logits."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from benchmarks.dsn.measured import Answers, shown
from benchmarks.dsn.students import Student
from models.data import Split
from models.predictor import predict

PROBES = ("linear", "mlp")
HIDDEN, STEPS = 64, 40


def probed(student: Student, probe: str) -> Answers:
    """Fitted on the training images' logits and labels, as many of each class, and tested on the test images'."""
    known, asked = (_logits(student, split) for split in (student.dataset.train, student.dataset.test))
    labels = student.dataset.train.labels
    rows = _evenly(labels, np.random.default_rng(0))
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-9
    network = (
        LogisticRegression(max_iter=300)
        if probe == "linear"
        else MLPClassifier((HIDDEN,), max_iter=STEPS, random_state=0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # there is nothing to converge to, if all is well
        network.fit((known[rows] - mean) / deviation, labels[rows])
    test = student.dataset.test.labels
    return Answers(network.predict((asked - mean) / deviation) == test, test)


def _logits(student: Student, split: Split) -> NDArray[np.float64]:
    with torch.inference_mode():
        return predict(student.predictor, shown(split, student.predictor)).double().numpy()


def _evenly(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows with as many of each class as all together have on average, drawn again where a class has fewer."""
    classes = np.unique(labels)
    each = len(labels) // len(classes)
    drawn = []
    for label in classes:
        own = np.flatnonzero(labels == label)
        drawn.append(rng.choice(own, each, replace=len(own) < each))
    return np.concatenate(drawn)
