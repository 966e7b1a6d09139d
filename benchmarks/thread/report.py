"""`thread.md` beside `thread.json`: the same rows for reading."""

from typing import Any

from benchmarks.thread.budgets import Budget
from benchmarks.thread.plots import LATENCY, PROFILES, write_plots
from benchmarks.thread.rows import read, replace_text

_ENDS = {"value": "", "low": "lower end ", "high": "upper end ", "interval": "interval "}


def write_report(budget: Budget) -> None:
    """The table of all rows in the file, and the plots."""
    write_plots(budget)
    rows = read(budget.results / "thread.json")
    there = [name for name in (LATENCY, PROFILES) if (budget.results / name).exists()]
    replace_text(budget.results / "thread.md", markdown(rows, there))


def markdown(rows: list[dict[str, Any]], plots: list[str]) -> str:
    """The table, and where it comes from."""
    machines = sorted({row["machine"] for row in rows})
    minutes = sum(row["core_minutes"] + row.get("training_core_minutes", 0) for row in rows)
    lines = [
        "# The first thread, measured",
        "",
        "Written by `python -m benchmarks.thread`; `thread.json` holds the same rows with the command that measures",
        f"each of them again. {minutes:.0f} core-minutes on {'; '.join(machines)}.",
        "",
        "| row | what | value | spread | at least | n | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_line(row) for row in rows),
        "",
        *(f"![{name.removesuffix('.svg').replace('_', ' ')}]({name})" for name in plots),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _line(row: dict[str, Any]) -> str:
    spread, wanted = row["spread"], row["bar"]
    bar = f"{_ENDS[wanted['of']]}{wanted['op']} {wanted['value']}"
    interval = f"{spread['low']:.4g} to {spread['high']:.4g} ({spread['how']})"
    met = "yes" if row["met"] else "**no**"
    return f"| `{row['id']}` | {row['what']} | {row['value']:.6g} | {interval} | {bar} | {row['n']:,} | {met} |"
