"""`thread.md` beside `thread.json`: the same rows for reading."""

from typing import Any

from benchmarks.thread.budgets import Budget
from benchmarks.thread.rows import read, replace_text

_WORDS = {"value": "", "low": "lower end ", "high": "upper end ", "interval": "interval "}


def write_report(budget: Budget) -> None:
    """The table of all rows in the file."""
    rows = read(budget.results / "thread.json")
    replace_text(budget.results / "thread.md", markdown(rows))


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table, and where it comes from."""
    machines = sorted({row["machine"] for row in rows})
    lines = [
        "# The first thread, measured",
        "",
        "Written by `python -m benchmarks.thread`; `thread.json` holds the same rows with the command that measures",
        f"each again. {sum(row['core_minutes'] for row in rows):.0f} core-minutes on {'; '.join(machines)}.",
        "",
        "| row | what | value | 95 % | at least | n | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_line(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    spread, wanted = row["spread"], row["bar"]
    bar = f"{_WORDS[wanted['of']]}{wanted['op']} {wanted['value']}"
    interval = f"{spread['low']:.4g} to {spread['high']:.4g} ({spread['how']})"
    met = "yes" if row["met"] else "**no**"
    return f"| `{row['id']}` | {row['what']} | {row['value']:.6g} | {interval} | {bar} | {row['n']:,} | {met} |"
