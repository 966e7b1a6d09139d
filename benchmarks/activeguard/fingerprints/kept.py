"""Pieces that took minutes to measure, kept under `runs/` by a hash of their recipe, so that a second run goes on."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.activeguard.budgets import Budget

Piece = dict[str, Any]


@dataclass
class Shelf:
    """What one part keeps; `minutes` counts what runs before this one had spent on what was found here."""

    folder: Path
    minutes: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, budget: Budget) -> "Shelf":
        """The budget's own."""
        folder = budget.data() / "fingerprints"
        folder.mkdir(exist_ok=True)
        return cls(folder)

    def get(self, name: str, recipe: object, measure: Callable[[], Piece]) -> Piece:
        """A piece that JSON can hold, read or measured now; `recipe` says all that it hangs on."""
        digest = hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]
        path = self.folder / f"{name}-{digest}.json"
        if path.exists():
            content = json.loads(path.read_text())
            self.minutes += content["core_seconds"] / 60
            return dict(content["piece"])
        began = time.process_time()
        piece = measure()
        fresh = path.with_suffix(".part")
        fresh.write_text(json.dumps({"core_seconds": time.process_time() - began, "piece": piece}))
        fresh.rename(path)
        return piece
