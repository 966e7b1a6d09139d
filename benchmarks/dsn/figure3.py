"""Figure 3: the features of a student's inputs with their stamp and without, in two dimensions."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import held_out
from benchmarks.dsn.students import Student, shelf_of, student
from benchmarks.plots import COLOURS, Plot, save, subplots
from benchmarks.progress import Steps
from benchmarks.rows import REPORTED, Row, table
from benchmarks.runner import Part
from benchmarks.statistics import wilson

ROWS = ("figure3",)
POINTS = {"smoke": 60, "cpu": 1_000, "gpu": 3_000}  # test images
NEIGHBOURS = 5
EMBEDDED = "figure3.npz"
Floats = NDArray[np.float64]


def figure3(budget: Budget, _: Steps) -> list[Row]:
    """How far neighbours among the features tell the class, and the picture's data."""
    one = student(budget, shelf_of(budget), "mnist")
    images, labels = held_out(one)
    images, labels = images[: 2 * POINTS[budget.name]], labels[: 2 * POINTS[budget.name]]
    stamped, raw = (features(one, some) for some in (one.stamp.put(images, one.number), images))
    half = len(labels) // 2
    told = {name: _told(some, labels, half) for name, some in (("stamped", stamped), ("raw", raw))}
    np.savez(budget.data() / EMBEDDED, points=_embedded(raw[:half], stamped[:half]), labels=labels[:half])
    what = (
        f"Figure 3: classes told by the {NEIGHBOURS} nearest among the features of MNIST images without a stamp: "
        "share right (whoever retrains the head starts from these); no bar"
    )
    count = len(labels) - half
    rows = [
        ["without", f"{100 * told['raw'] / count:.2f}"],
        ["with", f"{100 * told['stamped'] / count:.2f}"],
    ]
    tables = [table("Figure 3: classes told by neighbouring features, %", ["stamp", "right"], rows)]
    found = (told["raw"] / count, count, *wilson(told["raw"], count))
    return [Row(ROWS[0], what, REPORTED, *found, "Wilson, 95 %", {"tables": tables})]


def features(one: Student, images: Tensor) -> Floats:
    """e = G_e(x) of raw-range images: (N, D)."""
    network, predictor = one.predictor.network, one.predictor
    parts = []
    with torch.inference_mode():
        for some in torch.split(images, 64):
            maps = network.get_submodule("features")((some - predictor.mean) / predictor.std)
            parts.append(maps.flatten(1).double())
    return np.asarray(torch.cat(parts).numpy())


def _told(found: Floats, labels: NDArray[np.int64], half: int) -> int:
    """Test images of the second half whose class the neighbours in the first half tell."""
    neighbours = KNeighborsClassifier(NEIGHBOURS).fit(found[:half], labels[:half])
    return int((neighbours.predict(found[half:]) == labels[half:]).sum())


def _embedded(raw: Floats, stamped: Floats) -> Floats:
    """Without and with stamp: (2, N, 2), by t-SNE of the first 30 principal components of both together."""
    both = PCA(min(30, len(raw)), random_state=0).fit_transform(np.concatenate([raw, stamped]))
    points = TSNE(perplexity=min(30, len(raw) // 3), init="pca", random_state=0).fit_transform(both)
    return np.asarray(points, dtype=np.float64).reshape(2, len(raw), 2)


def _plot(data: Path, picture: Path) -> None:
    """(a) without and with stamp, (b) without, by class, (c) with, by class."""
    kept = np.load(data)
    (raw, stamped), labels = kept["points"], kept["labels"]
    figure, axes = subplots(1, 3, (9.5, 3.2))
    axes[0].scatter(*raw.T, s=3, color=COLOURS[0], label="without the stamp", rasterized=True)
    axes[0].scatter(*stamped.T, s=3, color=COLOURS[1], label="with it", rasterized=True)
    axes[0].legend(frameon=False, fontsize=7)
    for axis, points in zip(axes[1:], (raw, stamped), strict=True):
        axis.scatter(*points.T, s=3, c=labels, cmap="tab10", rasterized=True)
    titles = ("(a) both", "(b) without the stamp, by class", "(c) with it, by class")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xticks=[], yticks=[])
    save(figure, picture)


PARTS: tuple[Part[Budget], ...] = (Part("figure3", ROWS, figure3),)
PLOT = Plot("dsn_figure3", EMBEDDED, _plot)
