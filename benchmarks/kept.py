"""What took minutes to make or measure, kept under `runs/` by a hash of its recipe, so that a second run goes on."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from models.checkpoints import decode_weights, encode_weights
from models.networks import build

Piece = dict[str, Any]
Made = tuple[nn.Module, Piece]


class Keeping(Protocol):
    """A budget that has a folder for what is kept."""

    def data(self) -> Path:
        """The folder; it is there."""


def lenet5() -> nn.Module:
    """What most shelves keep."""
    return build("lenet5", {})


@dataclass
class Shelf:
    """What one part keeps; `minutes` counts what runs before this one had spent on what was found here."""

    folder: Path
    minutes: float = field(default=0.0, init=False)
    _known: set[Path] = field(default_factory=set, init=False, repr=False)  # counted already, or made by this run

    @classmethod
    def of(cls, budget: Keeping, name: str) -> "Shelf":
        """The budget's own of that name."""
        folder = budget.data() / name
        folder.mkdir(exist_ok=True)
        return cls(folder)

    def piece(self, name: str, recipe: object, measure: Callable[[], Piece]) -> Piece:
        """What JSON can hold, read or measured now; `recipe` says all that it hangs on."""
        file = self._file(name, recipe, ".json")
        if file.exists():
            return self._read(file)
        began = time.process_time()
        return self._write(file, measure(), began)

    def network(
        self, name: str, recipe: object, make: Callable[[], Made], blank: Callable[[], nn.Module] = lenet5
    ) -> Made:
        """A network in eval mode and what is to be known about it, read into a `blank` one or made now; `recipe` as
        above."""
        weights = self._file(name, recipe, ".safetensors")
        notes = weights.with_suffix(".json")  # written last: without it the weights are not whole
        if notes.exists():
            network = blank()
            decode_weights(network, weights.read_bytes())
            return network.eval(), self._read(notes)
        began = time.process_time()
        network, content = make()
        weights.write_bytes(encode_weights(network))
        return network.eval(), self._write(notes, content, began)

    def _file(self, name: str, recipe: object, suffix: str) -> Path:
        return self.folder / f"{name}-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}{suffix}"

    def _read(self, file: Path) -> Piece:
        content = json.loads(file.read_text())
        if file not in self._known:
            self._known.add(file)
            self.minutes += content["core_seconds"] / 60
        return dict(content["piece"])

    def _write(self, file: Path, piece: Piece, began: float) -> Piece:
        fresh = file.with_suffix(".part")
        fresh.write_text(json.dumps({"core_seconds": time.process_time() - began, "piece": piece}))
        fresh.rename(file)
        self._known.add(file)
        return piece
