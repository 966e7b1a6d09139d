"""A budget whose networks take a second or two: what is trained is kept for all tests of the session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.dsn import students
from benchmarks.dsn.budgets import Budget
from benchmarks.dsn.students import KINDS, Student, shelf_of, student


@pytest.fixture(scope="session")
def budget(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Budget]:
    """`smoke` with shorter trainings, in a folder of its own."""
    folder = tmp_path_factory.mktemp("dsn")
    quick = {
        name: replace(
            kind,
            config={**kind.config, "width": 0.25},
            teacher=replace(kind.teacher, epochs=3, learning_rate=5e-3),
            student=replace(kind.student, epochs=2),
            warm=replace(kind.warm, epochs=1),
            published=replace(kind.published, epochs=1),
        )
        for name, kind in KINDS["smoke"].items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(students.KINDS, "smoke", quick)
        yield Budget("smoke", folder / "results", folder)


@pytest.fixture(scope="session")
def one(budget: Budget) -> Student:
    """The first customer's."""
    return student(budget, shelf_of(budget), "mnist")
