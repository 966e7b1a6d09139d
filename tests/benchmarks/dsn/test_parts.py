"""Each part measures its rows; on a student of two epochs, what they say is of no interest."""

from __future__ import annotations

import pytest

from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.parts import DSN, draw
from benchmarks.progress import Steps
from benchmarks.rows import as_json, met, write

QUICK = ("mnist", "bits_off", "table4", "figure3", "legal", "published_form")


def test_no_two_rows_have_one_id() -> None:
    assert len(set(DSN.rows)) == len(DSN.rows)


@pytest.mark.parametrize("name", QUICK)
def test_a_part_measures_its_rows(name: str, budget: Budget) -> None:
    part = next(part for part in DSN.parts if part.name == name)
    with Steps() as steps:
        rows = part.run(budget, steps)
    assert tuple(row.id for row in rows) == part.rows
    assert any("tables" in row.extra for row in rows)
    for row in rows:
        entry = as_json(row, "smoke", 0.0, "")
        assert entry["met"] is met(entry)
        assert row.low <= row.value <= row.high
        assert row.n > 0
    write(DSN.file(budget), [as_json(row, "smoke", 0.0, "") for row in rows], DSN.rows)
    draw(budget)
    pictures = {"bits_off": "dsn_bits_off.svg", "figure3": "dsn_figure3.svg"}
    assert name not in pictures or (budget.results / pictures[name]).exists()
