"""What the committed results claim, recomputed from their own figures."""

import json
import shlex
from typing import Any

import pytest

from benchmarks.activeguard.parts import ACTIVEGUARD
from benchmarks.report import core_minutes, markdown
from benchmarks.rows import met
from benchmarks.runner import Experiments
from benchmarks.thread.budgets import ROOT
from benchmarks.thread.parts import THREAD

ALL: list[Experiments[Any]] = [THREAD, ACTIVEGUARD]
CPU_MINUTES = 60  # of one core, a table
TABLES_OF: dict[str, list[tuple[str, ...]]] = {  # what has to be measured within that
    THREAD.name: [THREAD.rows],
    ACTIVEGUARD.name: [part.rows for part in ACTIVEGUARD.parts],
}
ENTRIES = [
    (experiments, row)
    for experiments in ALL
    for row in json.loads(experiments.file(experiments.budgets["cpu"]).read_text())["rows"]
]
EVERY = pytest.mark.parametrize(("experiments", "row"), ENTRIES, ids=[row["id"] for _, row in ENTRIES])
TABLES = pytest.mark.parametrize("experiments", ALL, ids=[experiments.name for experiments in ALL])


def rows_of(experiments: Experiments[Any]) -> list[dict[str, Any]]:
    return [row for owner, row in ENTRIES if owner is experiments]


@TABLES
def test_rows_are_those_of_the_table_in_its_order_and_once(experiments: Experiments[Any]) -> None:
    assert [row["id"] for row in rows_of(experiments)] == list(experiments.rows)


@EVERY
def test_a_row_says_what_its_figures_say(experiments: Experiments[Any], row: dict[str, Any]) -> None:
    wanted = {"id", "what", "bar", "value", "n", "spread", "met", "command", "machine"}
    assert wanted <= row.keys()
    assert row["met"] is met(row)
    assert row["spread"]["low"] <= row["spread"]["high"]
    assert row["budget"] in ("cpu", "gpu")


@EVERY
def test_the_command_of_a_row_exists(experiments: Experiments[Any], row: dict[str, Any]) -> None:
    python, flag, module, *rest = shlex.split(row["command"])
    assert (python, flag) == ("python", "-m")
    if module == "pytest":
        assert all((ROOT / path).is_file() for path in rest)
        return
    assert module == f"benchmarks.{experiments.name}"
    assert rest == ["--budget", row["budget"], "--only", row["id"]]
    assert row["budget"] in experiments.budgets
    assert row["id"] in experiments.rows


@TABLES
def test_the_experiments_keep_to_their_budget(experiments: Experiments[Any]) -> None:
    for table in TABLES_OF[experiments.name]:
        rows = [row for row in rows_of(experiments) if row["id"] in table and row["budget"] == "cpu"]
        assert sum(map(core_minutes, rows)) <= CPU_MINUTES, table


@TABLES
def test_the_table_for_reading_is_that_of_the_file(experiments: Experiments[Any]) -> None:
    file = experiments.file(experiments.budgets["cpu"])
    plots = [plot for plot in experiments.plots if (file.parent / plot).exists()]
    expected = markdown(rows_of(experiments), experiments.name, experiments.title, plots)
    assert file.with_suffix(".md").read_text() == expected
