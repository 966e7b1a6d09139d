"""`python -m benchmarks.thread --budget smoke|cpu [--only ROW ...]`: measure the table "Must show" of issue 2.

A part whose rows are all in the file is not measured again, so an interrupted run goes on where it was; `--only` names
rows (or parts) to measure now, whether they are there or not.
"""

import argparse
import logging
import os
import resource
import time
from collections.abc import Callable, Sequence

import torch
from rich.table import Table

from benchmarks.thread.budgets import BUDGETS, Budget
from benchmarks.thread.parts import PARTS, ROWS, Part
from benchmarks.thread.progress import Steps, console
from benchmarks.thread.report import write_report
from benchmarks.thread.rows import as_json, read, write
from service import logs


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing or asked for, and print the table."""
    asked = _parser().parse_args(arguments)
    budget = BUDGETS[asked.budget]
    torch.set_num_threads(1)
    logs.configure("production", logging.WARNING)
    file = budget.results / "thread.json"
    there = {row["id"] for row in read(file)}
    wanted = [part for part in PARTS if is_wanted(part, asked.only, there, again=asked.again)]
    with Steps() as steps:
        for part in wanted:
            console.print(f"[bold]{part.name}[/]: {', '.join(part.rows)}", highlight=False)
            rows, core_minutes = _timed(lambda part=part: part.run(budget, steps))  # type: ignore[misc]
            share = core_minutes / len(rows)  # rows of one part are measured together
            entries = [as_json(row, budget.name, share, command_of(budget, part, row.id)) for row in rows]
            write(file, entries, ROWS)
            write_report(budget)
    _print_table(budget)


def command_of(budget: Budget, part: Part, row: str) -> str:
    """What measures a row again."""
    return part.command or f"python -m benchmarks.thread --budget {budget.name} --only {row}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.thread", description=__doc__)
    parser.add_argument("--budget", choices=sorted(BUDGETS), default="smoke")
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=[*ROWS, *(part.name for part in PARTS)])
    parser.add_argument("--again", action="store_true", help="measure everything, also what is there")
    return parser


def is_wanted(part: Part, only: Sequence[str] | None, there: set[str], *, again: bool) -> bool:
    """Whether a part is to be measured now."""
    if only is not None:
        return part.name in only or bool(set(only) & set(part.rows))
    return again or not there.issuperset(part.rows)


def _timed(work: Callable[[], list]) -> tuple[list, float]:  # type: ignore[type-arg]
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


def _print_table(budget: Budget) -> None:
    table = Table("row", "value", "95 %", "bar", "n", "met")
    for row in read(budget.results / "thread.json"):
        spread, wanted = row["spread"], row["bar"]
        interval = f"{spread['low']:.4g} – {spread['high']:.4g}"
        bar = f"{wanted['of']} {wanted['op']} {wanted['value']}"
        verdict = "[green]yes[/]" if row["met"] else "[red]no[/]"
        table.add_row(row["id"], f"{row['value']:.6g}", interval, bar, f"{row['n']:,}", verdict)
    console.print(table)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
