"""How much each experiment does: `smoke` shows that it runs, `cpu` is what the committed results are, `gpu` the rest.

Sizes that one experiment alone needs stand in its own module, by the budget's name.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "activeguard"  # git-ignored: trained networks, unfinished measurements, data behind the plots


@dataclass(frozen=True, slots=True)
class Budget:
    """A name, and where results go."""

    name: str
    results: Path

    def data(self) -> Path:
        """Where what is behind the plots, and what an interrupted experiment goes on from, is kept."""
        folder = RUNS / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


SMOKE = Budget("smoke", RUNS / "smoke" / "results")
CPU = Budget("cpu", ROOT / "docs" / "results")
GPU = Budget("gpu", ROOT / "docs" / "results")
BUDGETS = {budget.name: budget for budget in (SMOKE, CPU, GPU)}
