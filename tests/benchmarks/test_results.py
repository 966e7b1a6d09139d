"""What the committed results claim, recomputed from their own figures."""

import json
import shlex
from typing import Any

import pytest

from benchmarks.thread.budgets import BUDGETS, CPU, ROOT
from benchmarks.thread.parts import PARTS, ROWS
from benchmarks.thread.report import markdown
from benchmarks.thread.rows import met

FILE = CPU.results / "thread.json"
ENTRIES: list[dict[str, Any]] = json.loads(FILE.read_text())["rows"]
EVERY = pytest.mark.parametrize("row", ENTRIES, ids=[row["id"] for row in ENTRIES])


def test_every_row_of_the_table_is_there_once() -> None:
    assert [row["id"] for row in ENTRIES] == list(ROWS)


@EVERY
def test_a_row_says_what_its_figures_say(row: dict[str, Any]) -> None:
    wanted = {"id", "what", "bar", "value", "n", "spread", "met", "command", "machine"}
    assert wanted <= row.keys()
    assert row["met"] is met(row)
    assert row["spread"]["low"] <= row["spread"]["high"]
    assert row["budget"] == "cpu"


@EVERY
def test_the_command_of_a_row_exists(row: dict[str, Any]) -> None:
    python, flag, module, *rest = shlex.split(row["command"])
    assert (python, flag) == ("python", "-m")
    if module == "pytest":
        assert all((ROOT / path).is_file() for path in rest)
        return
    assert module == "benchmarks.thread"
    assert rest == ["--budget", "cpu", "--only", row["id"]]
    assert rest[1] in BUDGETS
    assert any(row["id"] in part.rows for part in PARTS)


def test_the_experiments_keep_to_their_budget() -> None:
    assert sum(row["core_minutes"] + row.get("training_core_minutes", 0) for row in ENTRIES) <= 60


def test_the_table_for_reading_is_that_of_the_file() -> None:
    plots = sorted(path.name for path in FILE.parent.glob("thread_*.svg"))
    assert FILE.with_suffix(".md").read_text() == markdown(ENTRIES, plots)
