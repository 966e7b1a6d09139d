"""Intervals and tests, each 95 % and two-sided where it is an interval."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]
Right = NDArray[np.bool_] | Floats  # of each image (N,): whether it is, or the share of students that got it right
_Z = 1.959963984540054
RESAMPLES = 1000


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's interval of a share; a sum of shares may stand for the successes: their spread is no larger."""
    share, z2 = successes / trials, _Z**2 / trials
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z / (1 + z2) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials))
    return centre - half, centre + half


def exact(successes: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share: what none or all of so many still leaves open."""
    interval = stats.binomtest(successes, trials).proportion_ci(method="exact")
    return float(interval.low), float(interval.high)


def uniform(labels: NDArray[np.int64], classes: int) -> tuple[float, float]:
    """Chi-square against equally many of each class: statistic and p."""
    found = stats.chisquare(np.bincount(labels, minlength=classes))
    return float(found.statistic), float(found.pvalue)


def independent(first: NDArray[np.int64], second: NDArray[np.int64], classes: int) -> tuple[float, int]:
    """Chi-square of a contingency table: statistic and degrees of freedom."""
    table = np.zeros((classes, classes))
    np.add.at(table, (first, second), 1)
    found = stats.chi2_contingency(table, correction=False)
    return float(found.statistic), int(found.dof)


def chi_square_p(statistic: float, freedom: int) -> float:
    """How often chance alone gives as much."""
    return float(stats.chi2.sf(statistic, freedom))


def auc(negatives: Floats, positives: Floats) -> float:
    """How often a positive scores higher than a negative; ties count half."""
    ranks = stats.rankdata(np.concatenate([negatives, positives]))
    above = ranks[len(negatives) :].sum() - len(positives) * (len(positives) + 1) / 2
    return float(above / (len(negatives) * len(positives)))


def auc_interval(
    negatives: Sequence[Floats], positives: Sequence[Floats], rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Bootstrap interval of the AUC over turns: what was measured in one turn, of either kind, is drawn together."""
    drawn = []
    for _ in range(resamples):
        turns = rng.integers(len(negatives), size=len(negatives))
        drawn.append(auc(*(np.concatenate([kind[turn] for turn in turns]) for kind in (negatives, positives))))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_auc(
    negatives: Floats, positives: Floats, rng: np.random.Generator, resamples: int = 200
) -> NDArray[np.float64]:
    """AUCs of answers drawn again, one by one."""
    return np.array(
        [auc(rng.choice(negatives, len(negatives)), rng.choice(positives, len(positives))) for _ in range(resamples)]
    )


def either_way(value: float, low: float, high: float) -> tuple[float, float, float]:
    """max(a, 1 - a) with its interval: whoever orders the wrong way round has told apart as well."""
    ends = sorted((abs(low - 0.5), abs(high - 0.5)))
    least = 0.0 if low <= 0.5 <= high else ends[0]
    return 0.5 + abs(value - 0.5), 0.5 + least, 0.5 + ends[1]


def mean_interval(values: Floats, rng: np.random.Generator, resamples: int = 10_000) -> tuple[float, float]:
    """Bootstrap interval of a mean."""
    rows = rng.integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[rows].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's interval of a mean, of two values or more."""
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def paired(first: Right, second: Right) -> tuple[float, float, float]:
    """The first's share less the second's over the same images, in points, with its 95 % interval."""
    difference = 100 * (first.astype(float) - second)
    half = _Z * float(difference.std(ddof=1)) / math.sqrt(len(difference))
    middle = float(difference.mean())
    return middle, middle - half, middle + half


def paired_score(first: Right, second: Right) -> tuple[float, float, float]:
    """The same over few images: what no test by the score refuses (Tango, Statistics in Medicine 17, 1998, 891).

    Unlike an interval given how many images one side alone has right, it does not take their number for certain: where
    the sides differ on none, or on few and always the same way, that leaves something open.
    """
    won, lost = (float(np.maximum(sign * (first.astype(float) - second), 0).sum()) for sign in (1, -1))
    count, found = len(first), (won - lost) / len(first)

    def score(difference: float) -> float:
        away = won - lost - count * difference
        if away == 0:
            return 0.0
        # the likeliest share that the second alone has right, if that is the difference
        b = (2 * count - won + lost) * difference - won - lost
        share = (math.sqrt(max(0.0, b * b + 8 * count * lost * difference * (1 - difference))) - b) / (4 * count)
        return away / math.sqrt(count * max(1e-300, 2 * share + difference * (1 - difference)))

    def end(side: float) -> float:
        if found == side:
            return side
        return float(optimize.brentq(lambda difference: score(difference) + side * _Z, *sorted((side, found))))

    return 100 * found, 100 * end(-1), 100 * end(1)


def balanced(right: Right, labels: NDArray[np.int64]) -> tuple[float, float, float]:
    """Balanced accuracy, the mean over classes of their shares, with its 95 % interval.

    Normal over classes as strata; a class's variance is that of Agresti and Coull's share, so that one that is all
    right or all wrong is not taken for certain.
    """
    counts = np.bincount(labels)
    counts, hits = counts[counts > 0], np.bincount(labels, weights=right)[counts > 0]
    shares = (hits + 2) / (counts + 4)
    half = _Z * float(np.sqrt((shares * (1 - shares) / (counts + 4)).sum())) / len(counts)
    middle = float((hits / counts).mean())
    return middle, max(0.0, middle - half), min(1.0, middle + half)


def balanced_paired(first: Right, second: Right, labels: NDArray[np.int64]) -> tuple[float, float, float]:
    """The first's balanced accuracy less the second's over the same images, in points: normal over classes as
    strata."""
    differences = [100 * (first.astype(float) - second)[labels == label] for label in np.unique(labels)]
    middle = float(np.mean([one.mean() for one in differences]))
    variance = sum(float(one.var(ddof=1)) / len(one) for one in differences if len(one) > 1)
    half = _Z * math.sqrt(variance) / len(differences)
    return middle, middle - half, middle + half
