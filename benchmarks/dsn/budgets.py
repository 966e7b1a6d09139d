"""How much each experiment does: `smoke` shows that it runs, `cpu` is what the committed results are, `gpu` the rest.

How the networks come about stands in `students.py`; sizes that one experiment alone needs, in its own module.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "dsn"  # git-ignored: networks, thieves' runs, data behind the plots


@dataclass(frozen=True, slots=True)
class Budget:
    """A name, where results go, and where what is behind them is kept."""

    name: str
    results: Path
    runs: Path = RUNS

    def data(self) -> Path:
        """The folder of what is kept."""
        folder = self.runs / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


SMOKE = Budget("smoke", RUNS / "smoke" / "results")
CPU = Budget("cpu", ROOT / "docs" / "results")
GPU = Budget("gpu", ROOT / "docs" / "results")
BUDGETS = {budget.name: budget for budget in (SMOKE, CPU, GPU)}
