"""Pictures of what the tables say: false accepts, capacity, generators, rounding, and the paper's Figure 2."""

import json
from pathlib import Path

import numpy as np

from benchmarks.activeguard.fingerprints.codewords import FALSE_ACCEPTS
from benchmarks.activeguard.fingerprints.figure2 import BARS
from benchmarks.activeguard.fingerprints.forgeries import CHECKS
from benchmarks.activeguard.fingerprints.generators import YIELDS
from benchmarks.activeguard.fingerprints.identities import CAPACITY
from benchmarks.activeguard.fingerprints.rounding import ERRORS, KINDS, STAGES
from benchmarks.plots import COLOURS, LINES, MARKS, Plot, rows_of, save, subplots


def _false_accepts(data: Path, picture: Path) -> None:
    """A panel a check, a line a kind; where none is accepted it lies along the bottom."""
    found = json.loads(data.read_text())
    figure, panels = subplots(1, len(CHECKS), (9, 3.4), sharey=True)
    for panel, check in zip(panels, CHECKS, strict=True):
        for (kind, pieces), colour, mark in zip(found["kinds"].items(), COLOURS, MARKS, strict=False):
            shown = sum(piece["shown"] for piece in pieces)
            counts = np.sum([piece["below"][check] for piece in pieces], axis=0)
            shares = np.where(counts > 0, counts / shown, 3e-8)
            panel.plot(found["epsilons"], shares, color=colour, marker=mark, markevery=8, markersize=3, label=kind)
        panel.set(xscale="log", yscale="log", ylim=(2e-8, 1.5), title=check, xlabel="epsilon")
        panel.axvline(0.01, color="0.7", linewidth=0.8)
    panels[0].set_ylabel("share accepted; lowest = none")
    panels[1].legend(frameon=False, fontsize=6, loc="upper left")
    save(figure, picture)


def _capacity(data: Path, picture: Path) -> None:
    curve = json.loads(data.read_text())
    figure, (panel,) = subplots(1, 1, (5, 3.2))
    names = [name for name in curve if name != "epsilon"]
    for name, colour, mark in zip(names, COLOURS, MARKS, strict=False):
        panel.plot(
            curve["epsilon"], [10**value for value in curve[name]], color=colour, marker=mark, markersize=4, label=name
        )
    panel.set(xscale="log", yscale="log", xlabel="epsilon", ylabel="identities of one network, K = 10")
    panel.legend(frameon=False)
    save(figure, picture)


def _generators(data: Path, picture: Path) -> None:
    figure, (panel,) = subplots(1, 1, (5, 3.2))
    for (name, pieces), colour, mark in zip(json.loads(data.read_text()).items(), COLOURS, MARKS, strict=False):
        rates = [piece["accepted"] / piece["core_seconds"] for piece in pieces]
        shares = [100 * piece["accepted"] / piece["shown"] for piece in pieces]
        panel.plot(rates, shares, mark, color=colour, markersize=4, label=f"{name}, {len(pieces)} budgets")
    panel.set(xscale="log", xlabel="accepted per core-second", ylabel="accepted, %")
    panel.legend(frameon=False)
    save(figure, picture)


def _rounding(data: Path, picture: Path) -> None:
    errors = np.load(data)
    figure, panels = subplots(1, len(KINDS), (8, 3.2), sharey=True)
    for panel, kind in zip(panels, KINDS, strict=True):
        for stage, colour, line in zip(STAGES, COLOURS, LINES, strict=False):
            values = np.sort(errors[f"{kind}_{stage}"])
            panel.plot(values.clip(1e-8), np.linspace(0, 100, len(values)), line, color=colour, label=stage)
        panel.set(xscale="log", xlabel="largest error of an allotted probability", title=kind)
        panel.axvline(0.01, color="0.7", linewidth=0.8)
    panels[0].set_ylabel("% of images at most")
    panels[0].legend(frameon=False)
    save(figure, picture)


def _figure2(data: Path, picture: Path) -> None:
    found = json.loads(data.read_text())
    bars = [(f"{name}\n(paper)", values) for name, values in found["paper"].items()]
    bars += [(name.replace(" CIFAR", "\nCIFAR"), values[1:]) for name, values in found["here"].items()]
    figure, (panel,) = subplots(1, 1, (6.5, 3.2))
    place = np.arange(len(bars))
    for index, (label, hatch) in enumerate((("authorized", ""), ("unauthorized", "//"))):
        heights = [values[index] for _, values in bars]
        drawn = panel.bar(place + 0.38 * index - 0.19, heights, 0.36, color=COLOURS[index], hatch=hatch, label=label)
        panel.bar_label(drawn, fmt="%.2f", fontsize=7)
    panel.set_xticks(place, [name for name, _ in bars], fontsize=7)
    panel.set(ylabel="test accuracy, %", ylim=(0, 119))
    panel.legend(frameon=False, ncols=2, loc="upper center")
    save(figure, picture)


def _table1(data: Path, picture: Path) -> None:
    """A panel a data set and confidence, classes across."""
    rows = [row for name, row in rows_of(data).items() if name in ("table1", "table1_cifar10")]
    lines = [(row, line) for row in rows for line in row["tables"][0]["rows"]]
    if not lines:
        return
    confidences = sorted({float(line[0]) for _, line in lines})
    figure, axes = subplots(len(rows), len(confidences), (9, 2.4 * len(rows)), sharex=True, sharey=True)
    for row, line in lines:
        axis = axes[rows.index(row) * len(confidences) + confidences.index(float(line[0]))]
        place = len(axis.lines)
        style = MARKS[place] + ("" if place else "-")
        axis.plot(range(10), [float(value) for value in line[2:]], style, color=COLOURS[place], label=line[1], ms=4)
        axis.set(title=f"{'MNIST' if row['id'] == 'table1' else 'CIFAR-10 as JPEG'}, c = {line[0]}", xlabel="class")
    axes[0].set_ylabel("taken for their user, %")
    axes[0].legend(frameon=False, fontsize=6, loc="lower right")
    save(figure, picture)


PLOTS = (
    Plot("activeguard_table1", None, _table1),
    Plot("activeguard_figure2", BARS, _figure2),
    Plot("activeguard_generators", YIELDS, _generators),
    Plot("activeguard_rounding", ERRORS, _rounding),
    Plot("activeguard_false_accepts", FALSE_ACCEPTS, _false_accepts),
    Plot("activeguard_capacity", CAPACITY, _capacity),
)
