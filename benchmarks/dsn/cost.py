"""What a customer's student costs beside a teacher's training, in images that go forward and backward."""

from statistics import mean

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import Answers, annotated, held_out, percent
from benchmarks.dsn.students import (
    COLD,
    PRECISION,
    WARM,
    Student,
    images,
    images_of,
    kind_of,
    shelf_of,
    student,
)
from benchmarks.dsn.thieves import SCRATCH, WAYS, Thieves, gains, plan_of
from benchmarks.kept import Piece, Shelf
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, table
from benchmarks.runner import Part
from benchmarks.statistics import t_interval
from models.attacks.tuning import Effort, Setting, tune
from models.predictor import Predictor
from models.serial_numbers.dsn import DistillationConfig
from models.training import initialise

ROWS = ("cost_cold", "cost_warm")
BARS = {COLD: 1.5, WARM: 0.3}
SHARE = 10
SEEDS = 5  # thieves, at the most
TEACHERS = {"smoke": 1, "cpu": 2, "gpu": 5}
PLATEAU = {  # section 3.2: Adam, 0.001 divided by 10 when the error plateaus
    "smoke": Effort(3, 1, 1, precision=PRECISION),
    "cpu": Effort(60, 4, 2, precision=PRECISION),
    "gpu": Effort(120, 4, 2, precision=PRECISION),
}


def cost(budget: Budget, steps: Steps) -> list[Row]:
    """Both rows; each has its thief's gain."""
    shelf = Shelf.of(budget, "cost")
    teachers = [_plateau(budget, shelf, seed) for seed in steps.over(range(TEACHERS[budget.name]), "teachers")]
    kind = kind_of(budget, "mnist")
    configs = {COLD: kind.student, WARM: kind.warm}
    rows, lines, minutes = [], [], shelf.minutes
    for id, (start, config) in steps.over(list(zip(ROWS, configs.items(), strict=True)), "students"):
        one = student(budget, shelf_of(budget), "mnist", start=start)
        thieves = Thieves.of(budget, start)
        way, found = thief_of(budget, thieves)
        ratios = [images_of(config, len(one.dataset.train)) / trained for trained in teachers]
        gained = {"thief": way, "gain": mean(found), "low": t_interval(found)[0], "high": t_interval(found)[1]}
        rows.append(_row(id, start, ratios, gained | {"seeds": len(found)}))
        lines.append(_line(start, config, one, ratios, gained))
        minutes += thieves.shelf.minutes
    columns = ["student", "epochs", "teacher trainings", "with stamp, %", "raw, %", "its thief", "his gain, points"]
    title = f"What a student costs, MNIST, and what a thief with {SHARE} % of the images gains over scratch"
    extra = {"teacher_images": teachers, "resumed_core_minutes": minutes / len(rows)}
    return annotated(rows, [table(title, columns, lines)], **extra)


def thief_of(budget: Budget, thieves: Thieves) -> tuple[str, list[float]]:
    """The adaptive thief's way against students of this start, and his gains."""
    way = thieves.chosen(WAYS, SHARE)
    seeds = range(min(SEEDS, plan_of(budget, SHARE).seeds))
    return way, gains(thieves.runs(way, SHARE, seeds), thieves.runs(SCRATCH, SHARE, seeds))


def _plateau(budget: Budget, shelf: Shelf, seed: int) -> int:
    """Images forward and backward until a teacher's training has ended, as the paper trains it, to its best epoch."""
    kind, dataset, effort = kind_of(budget, "mnist"), images(budget, "mnist"), PLATEAU[budget.name]
    setting = Setting(1e-3, kind.teacher.augment)

    def measure() -> Piece:
        network = kind.blank()
        initialise(network, seed)
        predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
        tuned = tune(predictor, dataset.train, dataset.validation, setting, effort, seed=seed)
        return {"epochs": len(tuned.curve), "best": tuned.best_epoch, "validation": tuned.validation_accuracy}

    piece = shelf.piece(f"plateau-{seed}", (dataset.name, kind.network, setting, effort, seed), measure)
    return int(piece["epochs"]) * len(dataset.train)


def _row(id: str, start: str, ratios: list[float], gained: dict[str, object]) -> Row:
    from_what = "fresh weights" if start == COLD else "another customer's student"
    what = (
        f"a student's distillation from {from_what}, in trainings of its teacher (Adam, a tenth on a plateau, until "
        "that brings nothing): images forward and backward, MNIST"
    )
    ends = (min(ratios), max(ratios))
    return Row(id, what, bar("<=", BARS[start], "high"), mean(ratios), len(ratios), *ends, "least and most", gained)


def _line(
    start: str, config: DistillationConfig, one: Student, ratios: list[float], gained: dict[str, object]
) -> list[object]:
    shown, labels = held_out(one)
    stamped = Answers.of(one.predictor, one.stamp.put(shown, one.number), labels).accuracy("mnist")[0]
    raw = Answers.of(one.predictor, shown, labels).accuracy("mnist")[0]
    gain = f"{gained['gain']:+.2f} ({gained['low']:+.2f} to {gained['high']:+.2f})"
    return [start, config.epochs, f"{mean(ratios):.2f}", percent(stamped), percent(raw), gained["thief"], gain]


PARTS: tuple[Part[Budget], ...] = (Part("cost", ROWS, cost),)
