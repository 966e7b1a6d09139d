"""Bars, files and the choice of what to measure."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.rows import REPORTED, Row, as_json, bar, bar_text, bars, met, read, write
from benchmarks.runner import is_wanted
from benchmarks.thread.parts import PARTS, THREAD


def entry(wanted: dict[str, Any], value: float, low: float, high: float, id: str = "one") -> dict[str, Any]:
    return as_json(Row(id, "what", wanted, value, 10, low, high, "how"), "smoke", 0.5, "python -m benchmarks.thread")


class TestMet:
    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            (bar(">=", 0.9), True),
            (bar(">=", 0.9, "low"), False),
            (bar("<=", 0.95), True),
            (bar("<=", 0.95, "high"), False),
            (bar("==", 0.94), True),
            (bar("==", 1.0), False),
            (bar("within", [0.8, 1.0], "interval"), True),
            (bar("within", [0.93, 1.0], "interval"), False),
            (bars(bar("<=", 0.95), bar("<=", 0.97, "high")), True),
            (bars(bar("<=", 0.95), bar("<=", 0.95, "high")), False),
            (REPORTED, None),
        ],
    )
    def test_it_is_the_named_end_that_has_to_reach_the_bar(self, wanted: dict[str, Any], expected: bool | None) -> None:
        row = entry(wanted, 0.94, 0.85, 0.97)
        assert met(row) is row["met"] is expected

    def test_several_bars_are_read_one_after_the_other(self) -> None:
        assert bar_text(bars(bar("<=", 0), bar("<=", 1, "high"))) == "<= 0 and upper end <= 1"


class TestFile:
    def test_fresh_rows_replace_those_of_the_same_id_and_leave_the_others(self, tmp_path: Path) -> None:
        path = tmp_path / "results" / "thread.json"
        write(path, [entry(bar(">=", 0.5), 0.1, 0.0, 0.2, "b"), entry(bar(">=", 0.5), 0.9, 0.8, 1.0, "a")], ("a", "b"))
        write(path, [entry(bar(">=", 0.5), 0.7, 0.6, 0.8, "b")], ("a", "b"))

        assert [(row["id"], row["value"], row["met"]) for row in read(path)] == [("a", 0.9, True), ("b", 0.7, True)]
        assert [one.name for one in path.parent.iterdir()] == ["thread.json"]

    def test_without_a_file_there_are_no_rows(self, tmp_path: Path) -> None:
        assert read(tmp_path / "thread.json") == []


class TestParts:
    def test_no_two_rows_have_one_id(self) -> None:
        assert len(set(THREAD.rows)) == len(THREAD.rows)

    def test_a_part_whose_rows_are_there_is_measured_again_only_when_asked(self) -> None:
        part, *others = PARTS
        there = set(part.rows)

        assert not is_wanted(part, None, there, again=False)
        assert is_wanted(part, None, there, again=True)
        assert is_wanted(part, [part.rows[0]], there, again=False)
        assert is_wanted(part, [part.name], there, again=False)
        assert not is_wanted(part, [others[0].name], set(), again=False)
        assert is_wanted(others[0], None, there, again=False)
