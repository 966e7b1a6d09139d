"""Accuracies as the rows have them: all images alike, all classes alike (GTSRB), or exact over few (the faces)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.dsn.students import Student
from benchmarks.rows import Row
from benchmarks.statistics import Right, balanced, balanced_paired, exact, paired, paired_score, wilson
from models.data import Split
from models.predictor import Predictor, predict

HOW = {
    "mnist": "Wilson, 95 %",
    "gtsrb": "balanced over classes, normal over strata, 95 %",
    "faces": "Clopper and Pearson, 95 %",
}
HOW_PAIRED = {
    "mnist": "paired over the test images, 95 %",
    "gtsrb": "balanced over classes, paired over the test images, 95 %",
    "faces": "score interval (Tango, 1998), paired over the test images, 95 %",
}


@dataclass(frozen=True)
class Answers:
    """Whether each of the test images (N,) was right, or by how many students, as a share; and its label.

    Several students have the same images, so they are averaged image by image and an interval is that of so many
    images; counted one after the other, as folds are, they would pass for as many images more.
    """

    right: Right
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, predictor: Predictor, images: Tensor, labels: NDArray[np.int64]) -> "Answers":
        """Of raw-range images (N, C, H, W) as they are."""
        return cls(predict(predictor, images).argmax(dim=1).numpy() == labels, labels)

    @classmethod
    def averaged(cls, several: Sequence["Answers"]) -> "Answers":
        """Of several students, or with several stamps, over the same images."""
        return cls(np.mean([one.right for one in several], axis=0), several[0].labels)

    @classmethod
    def joined(cls, several: Sequence["Answers"]) -> "Answers":
        """Over the images of several folds."""
        return cls(*(np.concatenate([getattr(one, name) for one in several]) for name in ("right", "labels")))

    def accuracy(self, name: str) -> tuple[float, float, float]:
        """As a share, with its interval; `name` is the data set's."""
        if name == "gtsrb":
            return balanced(self.right, self.labels)
        hits, count = float(self.right.sum()), len(self.right)
        return hits / count, *(exact(round(hits), count) if name == "faces" else wilson(hits, count))

    def less(self, other: "Answers", name: str) -> tuple[float, float, float]:
        """This accuracy less the other over the same images, in points, with its interval."""
        if name == "gtsrb":
            return balanced_paired(self.right, other.right, self.labels)
        return (paired_score if name == "faces" else paired)(self.right, other.right)


def held_out(student: Student) -> tuple[Tensor, NDArray[np.int64]]:
    """Raw-range (N, C, H, W), and labels (N,)."""
    return shown(student.dataset.test, student.predictor), student.dataset.test.labels


def shown(split: Split, predictor: Predictor) -> Tensor:
    """A split's images as raw-range ones (N, C, H, W)."""
    return predictor.input_spec.from_grid(torch.from_numpy(split.images))


def random_numbers(student: Student, count: int, seed: int = 0) -> Tensor:
    """Of a guesser: bool (count, n), none of them the student's own."""
    bits = torch.rand(count, len(student.number), generator=torch.Generator().manual_seed(seed)) < 0.5
    own = (bits == student.number).all(dim=1)
    bits[own] = ~bits[own]
    return bits


def flipped(number: Tensor, count: int, wrong: int, seed: int = 0) -> Tensor:
    """The number (n,) with so many bits wrong, each time others: bool (count, n)."""
    draws = torch.rand(count, len(number), generator=torch.Generator().manual_seed(seed))
    return number ^ (draws.argsort(dim=1).argsort(dim=1) < wrong)


def percent(share: float) -> str:
    """As the paper's tables have it, with a digit more."""
    return f"{100 * share:.2f}"


def annotated(rows: Sequence[Row], tables: Sequence[dict[str, Any]] = (), **extra: Any) -> list[Row]:
    """Rows of one part: `extra` with each, the tables with the first."""
    with_extra = [replace(row, extra={**row.extra, **extra}) for row in rows]
    first = with_extra[0]
    return [replace(first, extra={**first.extra, "tables": list(tables)}), *with_extra[1:]] if tables else with_extra
