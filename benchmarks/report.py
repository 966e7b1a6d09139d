"""A Markdown table beside a results file: the same rows for reading."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import bar_text, read, replace_text

_MET = {True: "yes", False: "**no**", None: ""}


def write_report(file: Path, name: str, title: str, plots: Sequence[str]) -> None:
    """The table of all rows in `file`, and the plots that lie beside it."""
    there = [plot for plot in plots if (file.parent / plot).exists()]
    replace_text(file.with_suffix(".md"), markdown(read(file), name, title, there))


def markdown(rows: list[dict[str, Any]], name: str, title: str, plots: Sequence[str]) -> str:
    """The table, and where it comes from."""
    machines = sorted({row["machine"] for row in rows})
    minutes = sum(core_minutes(row) for row in rows)
    lines = [
        f"# {title}",
        "",
        f"Written by `python -m benchmarks.{name}`; `{name}.json` holds the same rows with the command that measures",
        f"each of them again. {minutes:.0f} core-minutes on {'; '.join(machines)}.",
        "",
        "| row | what | value | spread | at least | n | met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_line(row) for row in rows),
        "",
        *(line for row in rows for table in row.get("tables", []) for line in _table(table)),
        *(f"![{plot.removesuffix('.svg').replace('_', ' ')}]({plot})" for plot in plots),
    ]
    return "\n".join(lines).rstrip() + "\n"


def core_minutes(row: dict[str, Any]) -> float:
    """All that a row took, in whichever run: training and what an earlier run had kept included."""
    return float(sum(row.get(name, 0) for name in ("core_minutes", "training_core_minutes", "resumed_core_minutes")))


def _table(table: dict[str, Any]) -> list[str]:
    """A table that a row carries beside its figure: the paper's, say, with ours in it."""
    lines = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
    return [f"## {table['title']}", "", *(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines), ""]


def _line(row: dict[str, Any]) -> str:
    spread, bar = row["spread"], bar_text(row["bar"])
    interval = f"{spread['low']:.4g} to {spread['high']:.4g} ({spread['how']})"
    met = _MET[row["met"]]
    return f"| `{row['id']}` | {row['what']} | {row['value']:.6g} | {interval} | {bar} | {row['n']:,} | {met} |"
