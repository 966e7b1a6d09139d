"""Table 4: students whose smallest weights are cut, over the whole network, with their stamp and without."""

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.measured import Answers, annotated, held_out, percent
from benchmarks.dsn.students import shelf_of
from benchmarks.dsn.table2 import everyone
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar, table
from benchmarks.runner import Part
from models.attacks.pruning import prune_globally
from models.predictor import Predictor

ROWS = ("pruned_stamped", "pruned_raw")
RATES = (0.1, 0.2, 0.3, 0.4)
PAPER = ("98.4 / 8.7", "98.4 / 8.3", "98.4 / 9.7", "98.4 / 9.9")


def table4(budget: Budget, steps: Steps) -> list[Row]:
    """The worst loss with the stamp and the highest accuracy without one, over the rates."""
    shelf = shelf_of(budget)
    stamped: dict[float, list[Answers]] = {rate: [] for rate in RATES}
    raw: dict[float, list[Answers]] = {rate: [] for rate in RATES}
    whole: list[Answers] = []
    for make in steps.over(everyone(budget, shelf, "mnist"), "pruning, by student"):
        one = make()
        images, labels = held_out(one)
        marked = one.stamp.put(images, one.number)
        whole.append(Answers.of(one.predictor, marked, labels))
        for rate in RATES:
            pruned = Predictor(
                prune_globally(one.predictor.network, rate), one.dataset.input_spec, one.dataset.output_spec
            )
            stamped[rate].append(Answers.of(pruned, marked, labels))
            raw[rate].append(Answers.of(pruned, images, labels))
    before = Answers.averaged(whole)
    losses = {rate: before.less(Answers.averaged(several), "mnist") for rate, several in stamped.items()}
    left = {rate: Answers.averaged(several).accuracy("mnist") for rate, several in raw.items()}
    return annotated(_rows(losses, left, len(before.right)), [_table(before, stamped, left)])


def _rows(
    losses: dict[float, tuple[float, float, float]], left: dict[float, tuple[float, float, float]], n: int
) -> list[Row]:
    worst = max(RATES, key=lambda rate: losses[rate][2])
    what = f"MNIST student, 10 to 40 % of its weights cut: accuracy with the stamp lost, points, at worst ({worst:.0%})"
    how = "paired over the test images, 95 %"
    with_stamp = Row(ROWS[0], what, bar("<=", 1.5, "high"), losses[worst][0], n, *losses[worst][1:], how, {})
    most = max(RATES, key=lambda rate: left[rate][2])
    what = f"the same without a stamp: accuracy, at worst ({most:.0%})"
    without = Row(ROWS[1], what, bar("<=", 0.12, "high"), left[most][0], n, *left[most][1:], "Wilson, 95 %", {})
    return [with_stamp, without]


def _table(
    before: Answers, stamped: dict[float, list[Answers]], left: dict[float, tuple[float, float, float]]
) -> dict[str, object]:
    cells = [
        f"{percent(Answers.averaged(stamped[rate]).accuracy('mnist')[0])} / {percent(left[rate][0])}" for rate in RATES
    ]
    rows = [
        ["the paper", "99.8", *PAPER],
        ["here", percent(before.accuracy("mnist")[0]), *cells],
    ]
    columns = ["", "with stamp, whole", *(f"{rate:.0%} cut" for rate in RATES)]
    return table("Table 4, MNIST: accuracy with stamp / without, %", columns, rows)


PARTS: tuple[Part[Budget], ...] = (Part("table4", ROWS, table4),)
