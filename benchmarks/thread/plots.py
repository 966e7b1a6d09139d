"""Two pictures where a table would be stared at: latencies of both kinds, and score profiles of both kinds."""

from pathlib import Path

import numpy as np

from benchmarks.progress import console
from benchmarks.thread.budgets import Budget
from benchmarks.thread.latency import CONCURRENCY, PAIRS, SECONDS
from benchmarks.thread.telling_apart import SCORES

LATENCY, PROFILES = "thread_latency.svg", "thread_scores.svg"
_COLOURS = ("tab:blue", "tab:orange")


def write_plots(budget: Budget) -> None:
    """Those whose data is there, if matplotlib is."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        console.print("  matplotlib is not installed: no plots", highlight=False)
        return
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "signet", "svg.fonttype": "none", "font.size": 9}
    for data, draw, name in ((SECONDS, _latency, LATENCY), (SCORES, _profiles, PROFILES)):
        if (budget.data() / data).exists():
            draw(budget.data() / data, budget.results / name)


def _latency(data: Path, path: Path) -> None:
    """Cumulative share of requests by milliseconds, a panel a pair and concurrency."""
    from matplotlib import pyplot

    seconds = np.load(data)
    figure, axes = pyplot.subplots(len(PAIRS), len(CONCURRENCY), figsize=(8, 5), layout="constrained", squeeze=False)
    share = np.linspace(0, 100, 201)[:-1]
    for line, (licensee, stranger) in zip(axes, PAIRS.values(), strict=True):
        for panel, concurrency in zip(line, CONCURRENCY, strict=True):
            for kind, colour, style in zip((licensee, stranger), _COLOURS, ("-", "--"), strict=True):
                milliseconds = 1e3 * np.percentile(seconds[f"{kind}_{concurrency}"], share)
                panel.plot(milliseconds, share, style, color=colour, label=kind.replace("_", "'s ", 1))
            panel.set(xscale="log", title=f"concurrency {concurrency}", xlabel="ms", ylabel="% of requests")
            panel.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _profiles(data: Path, path: Path) -> None:
    """The scores of an answer, sorted: median and the middle 90 % of each rank."""
    from matplotlib import pyplot

    scores = np.load(data)
    figure, panel = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    for kind, colour, shift in zip(("genuine", "decoys"), _COLOURS, (-0.1, 0.1), strict=True):
        ranks = np.sort(scores[kind], axis=1)[:, ::-1].clip(1e-45)
        low, middle, high = np.percentile(np.log10(ranks), [5, 50, 95], axis=0)
        place = np.arange(1, ranks.shape[1] + 1) + shift
        panel.errorbar(place, middle, [middle - low, high - middle], fmt="o", color=colour, label=kind, markersize=3)
    panel.set(xlabel="rank of the score", ylabel="log10 score", xticks=range(1, ranks.shape[1] + 1))
    panel.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
