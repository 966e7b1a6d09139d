"""Which rows there are and what measures them, in the order of the table."""

from benchmarks.runner import Experiments, Part
from benchmarks.thread import (
    accuracy,
    flood,
    forgery,
    forgery_shown,
    latency,
    quota,
    roundtrip,
    telling_apart,
    verdicts,
)
from benchmarks.thread.budgets import BUDGETS
from benchmarks.thread.plots import LATENCY, PROFILES, write_plots

PARTS = (
    Part("licensed", accuracy.LICENSED, accuracy.licensed),
    Part("stranger", accuracy.STRANGER, accuracy.stranger),
    Part("round_trip", roundtrip.ROUND_TRIP, roundtrip.round_trip),
    Part("forged_drawn", forgery.DRAWN, forgery.drawn),
    Part("forged_regenerated", forgery.REGENERATED, forgery.regenerated),
    Part("forged_changed", forgery.CHANGED, forgery.changed),
    Part("forged_shown", forgery_shown.SHOWN, forgery_shown.shown),
    Part("forged_http", forgery_shown.OVER_HTTP, forgery_shown.over_http),
    Part("told_apart", telling_apart.TOLD_APART, telling_apart.told_apart),
    Part("latency", latency.LATENCY, latency.latency),
    Part("quota", quota.QUOTA, quota.quota),
    Part("verdicts", verdicts.VERDICTS, verdicts.verdicts, verdicts.COMMAND),
    Part("flood", flood.FLOOD, flood.flood),
)
THREAD = Experiments("thread", "The first thread, measured", PARTS, BUDGETS, write_plots, (LATENCY, PROFILES))
