"""Pictures of Tables 2 to 4 and of who is accused, drawn from the rows themselves."""

from pathlib import Path
from typing import Any

from benchmarks.activeguard.marks import rejection, table2
from benchmarks.plots import COLOURS, LINES, MARKS, Plot, rows_of, save, subplots

_THRESHOLD = 9  # -log10 of the adjusted p that is verified


def _table2(data: Path, picture: Path) -> None:
    """Each seed's drop of accuracy, the mean with its interval, and the bar."""
    rows = rows_of(data)
    ways = [rows[name] for name in table2.WAYS if name in rows]
    if not ways:
        return
    figure, (panel,) = subplots(1, 1, (6.5, 2.4))
    panel.axvspan(*ways[0]["bar"]["value"], color="0.93")
    for place, (row, colour) in enumerate(zip(ways, COLOURS, strict=False)):
        spread = row["spread"]
        panel.plot(row["drops"], [place] * len(row["drops"]), ".", color=colour, alpha=0.6)
        panel.errorbar(
            row["value"],
            place + 0.25,
            xerr=[[row["value"] - spread["low"]], [spread["high"] - row["value"]]],
            fmt="o",
            color=colour,
            capsize=3,
        )
    names = [row["what"].partition(": ")[2].partition(", beside")[0] for row in ways]
    panel.set_yticks(range(len(ways)), [name.replace(", ", ",\n") for name in names], fontsize=7)
    panel.invert_yaxis()
    panel.set(xlabel="accuracy lost, points (dots: seeds; grey: the bar)")
    save(figure, picture)


def _table3(data: Path, picture: Path) -> None:
    """What is left after a thief's fine-tuning, by rate: of the network, of 13 digits, of registered marks."""
    row = rows_of(data).get("fine_tuned", {})
    if "curve" not in row:
        return
    figure, axes = subplots(1, 3, (10, 3.0))
    for epochs, line in zip(sorted({point["epochs"] for point in row["curve"]}), LINES, strict=False):
        points = [point for point in row["curve"] if point["epochs"] == epochs]
        _three(axes, [point["rate"] for point in points], points, line, f", {epochs} epochs")
    for axis in axes:
        axis.set(xscale="log", xlabel="rate, times the training's")
    axes[0].axhline(99.53, color="0.6", linewidth=0.8, label="paper, 30 and 50 epochs")
    _finish(figure, axes, picture)


def _table4(data: Path, picture: Path) -> None:
    """The same by the share of weights pruned; above, of the marked layer, below, of the whole network."""
    row = rows_of(data).get("pruned", {})
    if "curve" not in row:
        return
    kinds = list(dict.fromkeys(point["kind"] for point in row["curve"]))
    figure, axes = subplots(len(kinds), 3, (10, 2.8 * len(kinds)))
    for index, kind in enumerate(kinds):
        points = [point for point in row["curve"] if point["kind"] == kind]
        three = axes[3 * index : 3 * index + 3]
        _three(three, [100 * point["rate"] for point in points], points, "-", "")
        for name, mark in (("wm1", "x"), ("wm2", "+")):
            paper = [(100 * point["rate"], point["paper"][name]) for point in points if name in point["paper"]]
            if paper:
                three[0].plot(*zip(*paper, strict=True), mark, color="0.5", label=f"paper, {name}")
        for axis in three:
            axis.set(xlabel=f"pruned, % of {'the marked layer' if kind == 'layer' else 'the whole network'}")
    _finish(figure, axes, picture)


def _three(axes: list[Any], x: list[float], points: list[dict[str, Any]], line: str, more: str) -> None:
    """Accuracy, digits right of 13 in the mean, and the weakest registered mark's evidence."""
    for place, whose in enumerate(("published form", "strong form")):
        accuracies = [100 * point["accuracy"][whose] for point in points]
        axes[0].plot(x, accuracies, MARKS[place] + line, color=COLOURS[place], markersize=3, label=whose + more)
    for place, (name, values) in enumerate(_by_name(points, "digits").items()):
        axes[1].plot(x, values, MARKS[place] + line, color=COLOURS[2 + place], markersize=3, label=name + more)
    for place, (name, values) in enumerate(_by_name(points, "log10_p").items()):
        evidence = [max(1.0, -value) for value in values]
        axes[2].plot(x, evidence, MARKS[place] + line, color=COLOURS[1 + 3 * place], markersize=3, label=name + more)


def _by_name(points: list[dict[str, Any]], key: str) -> dict[str, list[float]]:
    return {name: [point[key][name] for point in points] for name in points[0][key]}


def _finish(figure: Any, axes: list[Any], picture: Path) -> None:
    for first in range(0, len(axes), 3):
        accuracy, digits, evidence = axes[first : first + 3]
        accuracy.set(ylabel="test accuracy, %")
        digits.set(ylabel="published form: digits right of 13", ylim=(-0.5, 13.5))
        digits.axhline(13, color="0.6", linewidth=0.8)
        evidence.set(ylabel="weakest mark, -log10 adjusted p", yscale="log")
        evidence.axhline(_THRESHOLD, color="0.6", linewidth=0.8, label="verified from here")
    for axis in axes[:3]:
        axis.legend(frameon=False, fontsize=6)
    save(figure, picture)


PLOTS = (
    Plot("activeguard_table2", None, _table2),
    Plot("activeguard_table3", None, _table3),
    Plot("activeguard_table4", None, _table4),
    rejection.PLOT,
)
