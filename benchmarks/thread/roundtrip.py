"""Issued fingerprints are accepted, as PNG, NPY and JSON, whatever a licensee's tools did in between."""

import io
from collections import Counter

import httpx
import numpy as np
from PIL import Image

from benchmarks.asking import http, npy, open_session
from benchmarks.gateway import Issued, Running, checked, fresh_home
from benchmarks.progress import Steps
from benchmarks.rows import Row, bar
from benchmarks.statistics import exact
from benchmarks.thread.budgets import Budget
from benchmarks.thread.field import OUTPUTS, Grid, issue_all, pixels, revoke_all
from benchmarks.thread.trained import MODEL, PAPER, chosen, named

ROUND_TRIP = ("fingerprints_accepted",)
_DRIFT = f'signet_fingerprint_drift_total{{model="{MODEL}"}}'


def round_trip(budget: Budget, steps: Steps) -> list[Row]:
    """Issue all outputs, show each in every spelling, revoke them, and again."""
    accepted: Counter[str] = Counter()
    refused = 0
    with fresh_home() as home, Running(home) as gateway, gateway.admin() as admin, http(gateway.url) as caller:
        gateway.add(named(chosen(budget)[1], confidences=PAPER))
        for _ in steps.over(range(budget.fingerprint_rounds), "fingerprints, rounds of 30"):
            licenses = issue_all(admin, gateway)
            for license in licenses:
                accepted.update(_accepted(caller, license))
            revoke_all(admin, licenses)
            sessions = [open_session(caller, MODEL, license.png) for license in licenses]
            refused += sum(session.document.get("code") == "REVOKED" for session in sessions)
        drifted = _metric(admin)
    issued = budget.fingerprint_rounds * OUTPUTS
    shown = issued * len(_spellings(np.zeros((28, 28), dtype=np.uint8)))
    right = sum(accepted.values()) - drifted  # a bound fingerprint whose output moved is let in, but is no success
    return [
        Row(
            "fingerprints_accepted",
            "issued fingerprints (30 outputs) accepted as PNG, NPY and JSON, confidence within 0.001: share",
            bar("==", 1.0),
            right / shown,
            shown,
            *exact(right, shown),
            "exact, 95 %",
            {
                "issued": issued,
                "accepted": dict(accepted),
                "outside_epsilon": drifted,
                "revoked_refused_plainly": refused / issued,
                "paper": "96 to 100 % at epsilon 0.01",
            },
        )
    ]


def _accepted(caller: httpx.Client, license: Issued) -> list[str]:
    spellings = _spellings(pixels(license.png))
    return [name for name, sent in spellings.items() if open_session(caller, MODEL, sent).proves(license)]


def _spellings(picture: Grid) -> dict[str, bytes | list[object]]:
    """One picture (H, W) as a licensee's tools may write it: decoded, and encoded again by others."""
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG", compress_level=1)
    levels = picture.astype(np.float32) / np.float32(255)
    return {"png": png.getvalue(), "npy": npy(levels), "json": levels.tolist()}


def _metric(admin: httpx.Client) -> int:
    lines = checked(admin.get("/metrics")).text.splitlines()
    return round(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(_DRIFT)))
