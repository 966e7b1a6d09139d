"""The adaptive thief: revives what is dead without the number, in the way that does best on validation."""

from functools import partial
from statistics import mean

import numpy as np

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import Answers, annotated, held_out, percent
from benchmarks.dsn.students import kind_of
from benchmarks.dsn.thieves import SCRATCH, UNLOCKED, WAYS, Run, Thieves, described, gains, plan_of
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, bars, table
from benchmarks.runner import Part
from benchmarks.statistics import t_interval

SHARES = (3, 10, 40)
BAR = bars(bar("<=", 1), bar("<", 2, "high"))
_HOW = "Student's t over seeds, 95 %"


def rows_of(share: int) -> tuple[str, ...]:
    """Everybody augments as he likes, or nobody does."""
    return (f"adaptive_{share}", f"adaptive_{share}_unaugmented")


def adaptive(share: int, budget: Budget, steps: Steps) -> list[Row]:
    """Both rows of a share, and a table of all that was tried."""
    thieves, lines, rows = Thieves.of(budget), [], []
    stamped = _stamped_loss(thieves)
    for id, augmented in zip(rows_of(share), (True, False), strict=True):
        tried = steps.over([SCRATCH, UNLOCKED, *WAYS], f"{share} %, {'augmented' if augmented else 'unaugmented'}")
        lines += [_line(thieves, side, share, augmented=augmented) for side in tried]
        way = thieves.chosen(WAYS, share, augmented=augmented)
        rows.append(_row(thieves, id, way, share, augmented=augmented, stamped=stamped))
    seeds, choosing = (getattr(plan_of(budget, share), name) for name in ("seeds", "choosing"))
    title = f"{share} % of MNIST's images: all that was tried; {choosing} seeds choose, of {seeds}"
    columns = ["augmentation", "who", "setting", "validation, %", "test, %", "gain, points", "of what is to gain", "n"]
    return annotated(rows, [table(title, columns, lines)], resumed_core_minutes=thieves.shelf.minutes / len(rows))


def share_of_gain(thief: list[Run], scratch: list[Run], unlocked: list[Run]) -> float:
    """(thief - scratch) / (unlocked - scratch), of the means: 1 is a lock that does nothing."""
    reached, low, high = (mean(run.test for run in runs) for runs in (thief, scratch, unlocked))
    return (reached - low) / (high - low) if high != low else float("nan")


def _row(thieves: Thieves, id: str, way: str, share: int, *, augmented: bool, stamped: float) -> Row:
    seeds = range(plan_of(thieves.budget, share).seeds)
    sides = (way, SCRATCH, UNLOCKED)
    thief, scratch, unlocked = (thieves.runs(side, share, seeds, augmented=augmented) for side in sides)
    found = gains(thief, scratch)
    tuned = "rate, epochs and augmentation tuned" if augmented else "rate and epochs tuned, nobody augments"
    what = f"the adaptive thief ({way}) with {share} % of MNIST's images, less scratch with the same, {tuned}: points"
    extra = {
        "seeds": list(seeds),
        "gains": found,
        "share_of_gain": share_of_gain(thief, scratch, unlocked),
        "test": [mean(run.test for run in runs) for runs in (thief, scratch, unlocked)],
        "settings": {side: described(thieves.setting(side, share, augmented=augmented)) for side in sides},
        "students": kind_of(thieves.budget, "mnist").students,
        "stamped_less_teacher": stamped,
    }
    return Row(id, what, BAR, mean(found), len(found), *t_interval(found), _HOW, extra)


def _line(thieves: Thieves, side: str, share: int, *, augmented: bool) -> list[object]:
    """Over the seeds that settings are chosen on."""
    seeds = range(plan_of(thieves.budget, share).choosing)
    found, scratch, unlocked = (
        thieves.runs(one, share, seeds, augmented=augmented) for one in (side, SCRATCH, UNLOCKED)
    )
    validation, test = (percent(mean(getattr(run, name) for run in found)) for name in ("validation", "test"))
    setting = described(thieves.setting(side, share, augmented=augmented))
    gained = f"{mean(gains(found, scratch)):+.2f}", f"{share_of_gain(found, scratch, unlocked):.2f}"
    return ["chosen" if augmented else "none", side, setting, validation, test, *gained, len(seeds)]


def _stamped_loss(thieves: Thieves) -> float:
    """What the stolen students' owners see: accuracy with the stamp less the teacher's, in points."""
    students = [thieves.victim(seed) for seed in range(kind_of(thieves.budget, "mnist").students)]
    found = []
    for one in students:
        images, labels = held_out(one)
        stamped = Answers.of(one.predictor, one.stamp.put(images, one.number), labels)
        found.append(stamped.less(Answers.of(one.teacher, images, labels), "mnist")[0])
    return float(np.mean(found))


PARTS: tuple[Part[Budget], ...] = tuple(
    Part(f"adaptive_{share}_percent", rows_of(share), partial(adaptive, share)) for share in SHARES
)
