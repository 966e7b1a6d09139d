"""Rows of a results file: a figure, what it has to reach, and whether it does.

    bar = {"op": ">=", "value": 0.99, "of": "low"}

reads: the lower end of the 95 % interval is at least 0.99. `of` is `value`, or `low` or `high`, the ends of `spread`;
`within` takes both ends of `value`. A figure that is a count of events (none, or all) is held to its value. `all` holds
a figure to several bars; `reported` is what no bar was set for, and is neither met nor missed.
"""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda measured, wanted: measured >= wanted,
    "<=": lambda measured, wanted: measured <= wanted,
    "<": lambda measured, wanted: measured < wanted,
    "==": lambda measured, wanted: measured == wanted,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    `extra` holds whatever else a reader may ask for: seeds, parts of the figure, figures beside it. Its `tables`, each
    `{"title": ..., "columns": [...], "rows": [[...], ...]}`, are printed after a measurement and stand in the report.
    """

    id: str
    what: str
    bar: Mapping[str, Any]
    value: float
    n: int
    low: float
    high: float
    how: str  # what the interval is
    extra: Mapping[str, Any] = field(default_factory=dict)


def bar(op: str, value: float | Sequence[float], of: str = "value") -> dict[str, Any]:
    """A bar as it stands in the file."""
    return {"op": op, "value": value, "of": of}


def bars(*all_of: Mapping[str, Any]) -> dict[str, Any]:
    """Several bars, all of which are to be reached."""
    return {"op": "all", "value": [dict(one) for one in all_of], "of": "bars"}


REPORTED = {"op": "reported", "value": None, "of": "value"}
_ENDS = {"value": "", "low": "lower end ", "high": "upper end ", "interval": "interval "}


def bar_text(wanted: Mapping[str, Any]) -> str:
    """A bar for reading."""
    if wanted["op"] == "all":
        return " and ".join(map(bar_text, wanted["value"]))
    if wanted["op"] == "reported":
        return ""
    return f"{_ENDS[wanted['of']]}{wanted['op']} {wanted['value']}"


def met(row: Mapping[str, Any]) -> bool | None:
    """Whether a row of the file reaches its bar, from nothing but its figures; None where there is no bar."""
    wanted, spread = row["bar"], row["spread"]
    if wanted["op"] == "reported":
        return None
    if wanted["op"] == "all":
        return all(met({**row, "bar": one}) for one in wanted["value"])
    if wanted["op"] == "within":
        least, most = wanted["value"]
        return bool(least <= spread["low"] and spread["high"] <= most)
    measured = row["value"] if wanted["of"] == "value" else spread[wanted["of"]]
    return _HOLDS[wanted["op"]](measured, wanted["value"])


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> dict[str, Any]:
    """As `Row.extra["tables"]` has it."""
    return {"title": title, "columns": list(columns), "rows": [[str(cell) for cell in row] for row in rows]}


def as_json(row: Row, budget: str, core_minutes: float, command: str) -> dict[str, Any]:
    """A row as it stands in the file."""
    entry: dict[str, Any] = {
        "id": row.id,
        "what": row.what,
        "bar": dict(row.bar),
        "value": row.value,
        "n": row.n,
        "spread": {"low": row.low, "high": row.high, "how": row.how},
    }
    entry["met"] = met(entry)
    entry |= {"command": command, "machine": machine(), "budget": budget, "core_minutes": round(core_minutes, 2)}
    return _plain(entry | dict(row.extra))


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none when there is no file yet."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    return rows


def write(path: Path, fresh: Sequence[Mapping[str, Any]], order: Sequence[str]) -> None:
    """Put rows into a file beside those of other ids, in one step, in the table's order."""
    rows = {row["id"]: row for row in [*read(path), *fresh]}
    ordered = sorted(rows.values(), key=lambda row: order.index(row["id"]) if row["id"] in order else len(order))
    replace_text(path, json.dumps({"rows": ordered}, indent=1, ensure_ascii=False) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.replace(path)


def machine() -> str:
    """What a figure in seconds depends on."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):  # numpy's scalars
        value = value.item()
    return float(f"{value:.6g}") if isinstance(value, float) else value
