"""How much of everything an experiment does: `smoke` shows that it runs, `cpu` is what the committed results are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "thread"  # git-ignored: trained networks, logs, data behind the plots


@dataclass(frozen=True, slots=True)
class Budget:
    """Sizes of the experiments; where a size is what is asked for, `cpu` has it in full."""

    name: str
    results: Path
    seeds: int  # networks trained
    epochs: int | None  # None: the preset's
    images: int  # test images asked about
    secrets: int  # model versions, each with a decoy secret of its own
    fingerprint_rounds: int  # times that all 30 outputs are issued
    drawn: int  # forgeries drawn as noise, faint noise and blends, together
    regenerated: int  # forgeries made with the issuer's own generator
    forged_http: int  # forgeries sent over HTTP
    answers: int  # answers of each kind that are told apart
    latency_turns: Mapping[int, int]  # blocks of 100 requests of each kind, by concurrency
    latency_gateways: int
    quota_runs: int
    flood_pairs: int  # runs with strangers and without
    flood_seconds: float

    def data(self) -> Path:
        """Where what is behind the plots is kept."""
        folder = RUNS / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


SMOKE = Budget(
    name="smoke",
    results=RUNS / "smoke",
    seeds=1,
    epochs=1,
    images=1_000,
    secrets=3,
    fingerprint_rounds=1,
    drawn=9_000,
    regenerated=300,
    forged_http=300,
    answers=1_000,
    latency_turns={1: 5, 32: 5},
    latency_gateways=2,
    quota_runs=1,
    flood_pairs=2,
    flood_seconds=2.0,
)
CPU = Budget(
    name="cpu",
    results=ROOT / "docs" / "results",
    seeds=3,
    epochs=None,
    images=10_000,
    secrets=20,
    fingerprint_rounds=100,
    drawn=1_000_002,  # three kinds
    regenerated=100_000,
    forged_http=10_000,
    answers=10_000,
    latency_turns={1: 700, 32: 1000},
    latency_gateways=10,
    quota_runs=5,
    flood_pairs=10,
    flood_seconds=6.0,
)
BUDGETS = {budget.name: budget for budget in (SMOKE, CPU)}
