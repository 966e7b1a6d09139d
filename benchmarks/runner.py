"""`python -m benchmarks.NAME --budget smoke|cpu [--only ROW ...]`: measure the rows of one results file.

A part whose rows are all in the file is not measured again, so an interrupted run goes on where it was; `--only` names
rows (or parts) to measure now, whether they are there or not.
"""

import argparse
import logging
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from rich.table import Table

from benchmarks.progress import Steps, console
from benchmarks.report import write_report
from benchmarks.rows import Row, as_json, bar_text, read, write
from service import logs

_VERDICTS = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


class Sized(Protocol):
    """A budget: how much of everything its experiments do, and where their results go."""

    @property
    def name(self) -> str:
        """`smoke`, `cpu`, and where there is one `gpu`."""

    @property
    def results(self) -> Path:
        """The folder of the results file."""


Budget = TypeVar("Budget", bound=Sized)


@dataclass(frozen=True, slots=True)
class Part(Generic[Budget]):
    """Rows that are measured together; `command` only where something else than this package measures them."""

    name: str
    rows: tuple[str, ...]
    run: Callable[[Budget, Steps], list[Row]]
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Experiments(Generic[Budget]):
    """One results file: `<name>.json`, the parts that measure it, what draws its plots, and their file names."""

    name: str
    title: str
    parts: Sequence[Part[Budget]]
    budgets: Mapping[str, Budget]
    draw: Callable[[Budget], None]
    plots: tuple[str, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """Every row, in the table's order."""
        return tuple(row for part in self.parts for row in part.rows)

    def file(self, budget: Budget) -> Path:
        """Where the rows are."""
        return budget.results / f"{self.name}.json"

    def command_of(self, budget: Budget, part: Part[Budget], row: str) -> str:
        """What measures a row again."""
        return part.command or f"python -m benchmarks.{self.name} --budget {budget.name} --only {row}"

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Measure what is missing or asked for, and print the table."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        asked = self._parser().parse_args(arguments)
        budget = self.budgets[asked.budget]
        torch.set_num_threads(1)
        logs.configure("production", logging.WARNING)
        there = {row["id"] for row in read(self.file(budget))}
        with Steps() as steps:
            for part in self.parts:
                if is_wanted(part, asked.only, there, again=asked.again):
                    self._measure(budget, part, steps)
        _print_table(read(self.file(budget)))

    def _measure(self, budget: Budget, part: Part[Budget], steps: Steps) -> None:
        console.print(f"[bold]{part.name}[/]: {', '.join(part.rows)}", highlight=False)
        rows, core_minutes = _timed(lambda: part.run(budget, steps))
        share = core_minutes / len(rows)  # rows of one part are measured together
        entries = [as_json(row, budget.name, share, self.command_of(budget, part, row.id)) for row in rows]
        write(self.file(budget), entries, self.rows)
        self.draw(budget)
        write_report(self.file(budget), self.name, self.title, self.plots)
        for row in rows:
            _print_tables(row)

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}", description=__doc__)
        parser.add_argument("--budget", choices=sorted(self.budgets), default="smoke")
        names = dict.fromkeys([*self.rows, *(part.name for part in self.parts)])
        parser.add_argument("--only", nargs="+", metavar="ROW", choices=list(names))
        parser.add_argument("--again", action="store_true", help="measure everything, also what is there")
        return parser


def is_wanted(part: Part[Budget], only: Sequence[str] | None, there: set[str], *, again: bool) -> bool:
    """Whether a part is to be measured now."""
    if only is not None:
        return part.name in only or bool(set(only) & set(part.rows))
    return again or not there.issuperset(part.rows)


def _timed(work: Callable[[], list[Row]]) -> tuple[list[Row], float]:
    """The work's rows and the core-minutes it took, its subprocesses' included."""
    before = _core_seconds()
    began = time.monotonic()
    rows = work()
    spent = (_core_seconds() - before) / 60
    console.print(f"  {(time.monotonic() - began) / 60:.1f} minutes, {spent:.1f} core-minutes", highlight=False)
    return rows, spent


def _core_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _print_tables(row: Row) -> None:
    for one in row.extra.get("tables", []):
        table = Table(*one["columns"], title=one["title"])
        for line in one["rows"]:
            table.add_row(*map(str, line))
        console.print(table)


def _print_table(rows: Sequence[Mapping[str, object]]) -> None:
    table = Table("row", "value", "95 %", "bar", "n", "met")
    for row in rows:
        spread = row["spread"]
        interval = f"{spread['low']:.4g} – {spread['high']:.4g}"  # type: ignore[index]
        bar = bar_text(row["bar"])  # type: ignore[arg-type]
        verdict = _VERDICTS[row["met"]]  # type: ignore[index]
        table.add_row(str(row["id"]), f"{row['value']:.6g}", interval, bar, f"{row['n']:,}", verdict)
    console.print(table)
