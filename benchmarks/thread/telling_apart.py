"""Can one answer be told from a decoy?

Each answer is one HTTP response to one image, and the classifier sees what a caller sees of it: scores (as they are,
sorted, and their logarithms), label, length in bytes, header names. Decoy labels are uniform by design and those of a
test set are not, which betrays the kind of many answers and not of one; so the images are drawn in equal numbers a
class, and the unbalanced draw stands beside it.
"""

from collections.abc import Sequence

import numpy as np
import orjson
import uvloop
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from benchmarks.gateway import Running, fresh_home
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import Floats, auc, bootstrap_auc
from benchmarks.thread.budgets import Budget
from benchmarks.thread.trained import HeldOut, artefact, held_out, named
from benchmarks.thread.wire import ask_each, prediction

TOLD_APART = ("told_apart_auc", "told_apart_auc_unbalanced", "told_apart_distinct")
SCORES = "scores.npz"  # in the budget's folder under `runs/`, for the plot
_CALLERS = 8


def told_apart(budget: Budget, steps: Steps) -> list[Row]:
    """For the network of every seed, each with a decoy secret of its own."""
    images = held_out()
    seeds = range(budget.seeds)
    with fresh_home() as home, Running(home) as gateway:
        answers = []
        for seed in steps.over(seeds, "answers and decoys, by network"):
            name = f"mnist-{seed}"
            gateway.add(named(artefact(budget, seed), name))
            bearers = (gateway.issue(name, "key").key, None)
            requests = [[prediction(name, image, bearer) for image in images.split.images] for bearer in bearers]
            answers.append([_features(uvloop.run(ask_each(gateway.port, some, _CALLERS))) for some in requests])
    np.savez_compressed(budget.data() / SCORES, genuine=answers[0][0][:, :10], decoys=answers[0][1][:, :10])
    draws = [_balanced(images, budget.answers, seed) for seed in seeds]
    test = np.arange(min(budget.answers, images.test_rows))
    return [
        _auc_row("told_apart_auc", "equally many images a class", answers, draws, steps),
        _auc_row("told_apart_auc_unbalanced", "test images as they come", answers, [test for _ in seeds], steps),
        _distinct([decoys for _, decoys in answers], images),
    ]


def _balanced(images: HeldOut, count: int, seed: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    labels = images.split.labels
    return np.concatenate([rng.permutation(np.flatnonzero(labels == label))[: count // 10] for label in range(10)])


def _features(responses: Sequence[tuple[bytes, bytes]]) -> Floats:
    """Heads and bodies of responses -> (N, 3 K + 3), the scores first."""
    names = [b",".join(line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]) for head, _ in responses]
    documents = [orjson.loads(body)["predictions"][0] for _, body in responses]
    scores = np.array([document["scores"] for document in documents])  # (N, K)
    rest = np.stack(
        [
            np.array([document["index"] for document in documents]),
            np.array([len(body) for _, body in responses]),
            np.unique(names, return_inverse=True)[1],
        ],
        axis=1,
    )
    return np.concatenate([scores, np.sort(scores, axis=1), np.log(scores.clip(1e-45)), rest], axis=1)


def _auc_row(
    id: str, draw: str, answers: Sequence[Sequence[Floats]], rows: Sequence[NDArray[np.int64]], steps: Steps
) -> Row:
    """The mean over networks; their errors are independent."""
    found, variances = [], []
    for seed in steps.over(range(len(answers)), f"boosting, {draw}"):
        genuine, decoys = (kind[rows[seed]] for kind in answers[seed])
        scores = _boosted(genuine, decoys, seed)
        found.append(auc(*scores))
        variances.append(float(np.var(bootstrap_auc(*scores, np.random.default_rng(seed)))))
    value, half = float(np.mean(found)), 1.96 * float(np.sqrt(sum(variances))) / len(found)
    return Row(
        id,
        f"genuine and decoy answers told apart by gradient boosting (5-fold), {draw}: AUC, mean over networks",
        bar("<=", 0.52, "high"),
        value,
        2 * sum(map(len, rows)),
        value - half,
        value + half,
        "bootstrap over answers, 95 %",
        {"auc_by_seed": found},
    )


def _boosted(genuine: Floats, decoys: Floats, seed: int) -> tuple[Floats, Floats]:
    """Out-of-fold scores of both kinds."""
    features, kinds = np.concatenate([genuine, decoys]), np.repeat([0, 1], [len(genuine), len(decoys)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    boosting = HistGradientBoostingClassifier(random_state=seed)
    said = cross_val_predict(boosting, features, kinds, cv=folds, method="predict_proba")[:, 1]
    return said[: len(genuine)], said[len(genuine) :]


def _distinct(decoys: Sequence[Floats], images: HeldOut) -> Row:
    """Score vectors of different images that are the same, within one model."""
    _, first = np.unique(images.split.images.reshape(len(images.split), -1), axis=0, return_index=True)
    repeated = [len(first) - len(np.unique(kind[first, :10], axis=0)) for kind in decoys]
    asked, how = len(first) * len(decoys), "a count of all decoys"
    value = sum(repeated)
    what = "decoys whose score vector another image's decoy has as well"
    return Row("told_apart_distinct", what, bar("==", 0), value, asked, value, value, how, {"by_network": repeated})
