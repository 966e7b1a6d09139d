"""Networks that took minutes to make, kept under `runs/` by a hash of their recipe, so that a second run goes on."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.activeguard.budgets import Budget
from models.checkpoints import decode_weights, encode_weights
from models.networks import build

Made = tuple[nn.Module, dict[str, object]]


@dataclass
class Shelf:
    """What one part keeps; `minutes` counts what others before this run had spent on what was found here."""

    folder: Path
    minutes: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, budget: Budget) -> "Shelf":
        """The budget's own."""
        folder = budget.data() / "marks"
        folder.mkdir(exist_ok=True)
        return cls(folder)

    def get(self, name: str, recipe: object, make: Callable[[], Made]) -> Made:
        """A LeNet-5 and what is to be known about it (JSON), read or made now; `recipe` says all that it hangs on."""
        digest = hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]
        weights = self.folder / f"{name}-{digest}.safetensors"
        notes = weights.with_suffix(".json")  # written last: without it the weights are not whole
        if notes.exists():
            network, content = build("lenet5", {}), json.loads(notes.read_text())
            decode_weights(network, weights.read_bytes())
            self.minutes += content["core_seconds"] / 60
            return network, content
        began = time.process_time()
        network, content = make()
        weights.write_bytes(encode_weights(network))
        content = {**content, "core_seconds": time.process_time() - began}
        fresh = notes.with_suffix(".part")
        fresh.write_text(json.dumps(content))
        fresh.rename(notes)
        return network.eval(), content

    def remember(self, name: str, recipe: object, measure: Callable[[], list[Any]]) -> list[Any]:
        """Figures that took a while, JSON, read or measured now."""
        digest = hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]
        file = self.folder / f"{name}-{digest}.figures"
        if not file.exists():
            fresh = file.with_suffix(".part")
            fresh.write_text(json.dumps(measure()))
            fresh.rename(file)
        found: list[Any] = json.loads(file.read_text())
        return found
