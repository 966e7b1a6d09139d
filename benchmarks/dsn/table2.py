"""Table 2: teacher, and student with its stamp, without one, with others; probes on what it answers without one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import HOW, HOW_PAIRED, Answers, annotated, held_out, percent, random_numbers
from benchmarks.dsn.probes import PROBES, probed
from benchmarks.dsn.students import Student, kind_of, shelf_of, student
from benchmarks.kept import Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, table
from benchmarks.runner import Part

PAPER = {"mnist": (99.9, 99.8, 9.2), "gtsrb": (97.0, 97.2, 8.2), "faces": (87.9, 87.3, 7.3)}  # the faces: of PubFig
TITLES = {"mnist": "MNIST", "gtsrb": "GTSRB, balanced accuracy", "faces": "ORL faces, five-fold"}


@dataclass(frozen=True)
class Bars:
    """Shares and points: the teacher's least accuracy, the stamped student's greatest loss, what raw and wrongly
    stamped images and the probes may reach beyond chance; `below` is how far under chance is as suspicious."""

    classes: int
    teacher: float | None
    loss: float
    beyond: float
    below: float | None
    probes: float

    def locked(self) -> dict[str, object]:
        """Of raw and wrongly stamped images."""
        chance = 1 / self.classes
        if self.below is None:
            return bar("<=", round(chance + self.beyond, 6), "high")
        return bar("within", [round(chance - self.below, 6), round(chance + self.beyond, 6)], "interval")


BARS = {
    "mnist": Bars(10, 0.99, 0.5, 0.02, 0.02, 0.03),
    "gtsrb": Bars(43, 0.95, 0.5, 0.02, 0.02, 0.03),
    "faces": Bars(40, None, 2.0, 0.04, None, 0.04),
}


@dataclass
class Measured:
    """Answers of all students of all folds of a data set, by what was asked and by fold."""

    by_question: dict[str, dict[str, list[Answers]]] = field(default_factory=dict)

    def add(self, question: str, fold: str, answers: Answers) -> None:
        """Another student's."""
        self.by_question.setdefault(question, {}).setdefault(fold, []).append(answers)

    def __getitem__(self, question: str) -> Answers:
        return Answers.joined([Answers.averaged(several) for several in self.by_question[question].values()])


def rows_of(name: str) -> tuple[str, ...]:
    """The ids of a data set's rows."""
    questions = ("teacher", "stamped", "raw", "wrong", *PROBES)
    return tuple(f"{name}_{one}" for one in questions if one != "teacher" or BARS[name].teacher is not None)


def table2(name: str, budget: Budget, steps: Steps) -> list[Row]:
    """A data set's rows; the table is with the first."""
    shelf, measured = shelf_of(budget), Measured()
    asked = everyone(budget, shelf, name)
    for make in steps.over(asked, f"students of {name}"):
        _ask(make(), measured)
    rows = _rows(name, measured)
    minutes, layout = shelf.minutes / len(rows), kind_of(budget, name).layout
    tables = [_table(name, measured, f"{layout.bits} bits, {layout.copies} times, {layout.kind}")]
    return annotated(rows, tables, students=len(asked), resumed_core_minutes=minutes)


def everyone(budget: Budget, shelf: Shelf, name: str) -> list[Callable[[], Student]]:
    """Makes each student of each fold."""
    kind = kind_of(budget, name)
    return [
        partial(student, budget, shelf, name, index, fold=fold)
        for fold in range(kind.folds)
        for index in range(kind.students)
    ]


def _ask(one: Student, measured: Measured) -> None:
    images, labels = held_out(one)
    wrong = random_numbers(one, len(images))
    fold = one.dataset.name
    measured.add("teacher", fold, Answers.of(one.teacher, images, labels))
    measured.add("stamped", fold, Answers.of(one.predictor, one.stamp.put(images, one.number), labels))
    measured.add("raw", fold, Answers.of(one.predictor, images, labels))
    measured.add("wrong", fold, Answers.of(one.predictor, one.stamp.put(images, wrong), labels))
    for probe in PROBES:
        measured.add(probe, fold, probed(one, probe))


def _rows(name: str, measured: Measured) -> list[Row]:
    bars, title, count = BARS[name], TITLES[name], len(measured["raw"].right)
    rows = []
    if bars.teacher is not None:
        reached = measured["teacher"].accuracy(name)
        wanted = bar(">=", bars.teacher, "low")
        rows.append(Row(f"{name}_teacher", f"{title}: teacher", wanted, reached[0], count, *reached[1:], HOW[name], {}))
    loss = measured["stamped"].less(measured["teacher"], name)
    what = f"{title}: student with its stamp less teacher, points"
    wanted = bar(">=", -bars.loss, "low")
    rows.append(Row(f"{name}_stamped", what, wanted, loss[0], count, *loss[1:], HOW_PAIRED[name], {}))
    questions = {
        "raw": ("student without a stamp", bars.locked()),
        "wrong": ("student with random stamps, another for each image", bars.locked()),
        "linear": ("a line fitted to the student's raw logits", bar("<=", _beyond(bars), "high")),
        "mlp": ("a small network fitted to the student's raw logits", bar("<=", _beyond(bars), "high")),
    }
    for question, (what, wanted) in questions.items():
        found = measured[question].accuracy(name)
        rows.append(Row(f"{name}_{question}", f"{title}: {what}", wanted, found[0], count, *found[1:], HOW[name], {}))
    return rows


def _beyond(bars: Bars) -> float:
    return round(1 / bars.classes + bars.probes, 6)


def _table(name: str, measured: Measured, stamp: str) -> dict[str, object]:
    paper = dict(zip(("teacher", "stamped", "raw"), map(str, PAPER[name]), strict=True))
    whose = "the paper (PubFig)" if name == "faces" else "the paper"
    questions = ("teacher", "stamped", "raw", "wrong", *PROBES)
    rows = [
        [whose, *(paper.get(question, "") for question in questions), "3 x 3 corner"],
        ["here", *(percent(measured[question].accuracy(name)[0]) for question in questions), stamp],
        ["chance", *[f"{100 / BARS[name].classes:.2f}"] * len(questions), ""],
    ]
    columns = [
        "",
        "teacher",
        "with stamp",
        "raw",
        "wrong stamp",
        "line on raw logits",
        "network on raw logits",
        "stamp",
    ]
    return table(f"Table 2, {TITLES[name]}, %", columns, rows)


PARTS: tuple[Part[Budget], ...] = tuple(Part(name, rows_of(name), partial(table2, name)) for name in BARS)
