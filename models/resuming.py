"""Where a training run stands, in one safetensors file: weights, best weights, optimizer moments; progress as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.errors import WeightsError

State = dict[str, Tensor]


@dataclass(frozen=True)
class Progress:
    """Validation accuracies so far and the weights of the best epoch; `run` says which run this belongs to."""

    run: str
    accuracies: tuple[float, ...]
    best_epoch: int
    best_state: State

    @classmethod
    def start(cls, run: str) -> Progress:
        """Before the first epoch."""
        return cls(run, (), 0, {})

    def after_epoch(self, network: nn.Module, accuracy: float) -> Progress:
        """One epoch on; its weights are kept if none before it did better: of equals the later saw more."""
        accuracies = (*self.accuracies, accuracy)
        if accuracy < max(self.accuracies, default=-1.0):
            return replace(self, accuracies=accuracies)
        return Progress(self.run, accuracies, len(accuracies), _copy(network.state_dict()))


def save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write the checkpoint beside its place and move it there, so that a killed process leaves a whole one."""
    moments = optimizer.state_dict()["state"]
    tensors = _prefixed("network", _copy(network.state_dict())) | _prefixed("best", _copy(progress.best_state))
    for index, values in moments.items():
        tensors |= _prefixed(f"optimizer.{index}", _copy(values))
    content = {"run": progress.run, "accuracies": progress.accuracies, "best_epoch": progress.best_epoch}
    draft = path.with_name(path.name + ".part")
    save_file(tensors, draft, metadata={"progress": json.dumps(content)})
    os.replace(draft, path)


def resume(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, run: str) -> Progress:
    """Load a checkpoint into network and optimizer; raises WeightsError naming `checkpoint`."""
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {})["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator of its own)
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError("checkpoint", f"{path.name} is not a training checkpoint: {error}") from None
    if content["run"] != run:
        raise WeightsError("checkpoint", f"{path.name} belongs to another run; delete it to start over")
    try:
        network.load_state_dict(_under("network.", tensors))
    except RuntimeError as error:
        raise WeightsError("checkpoint", f"{path.name} is of another network: {error}") from None
    moments: dict[int, State] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return Progress(run, tuple(content["accuracies"]), content["best_epoch"], _under("best.", tensors))


def _copy(state: State) -> State:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def _prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}.{name}": tensor for name, tensor in state.items()}


def _under(prefix: str, tensors: State) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
