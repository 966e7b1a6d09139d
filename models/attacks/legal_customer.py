"""A legal customer as thief: he has the student and its number, and wants a network that needs none (arXiv:2011.08960,
section 3.5, "Adversary with Knowledge of SN"; the paper tries overwriting alone).

folded     puts the number in front of the network once and for all: nothing is trained
distilled  teaches a copy to answer raw inputs as the student answers stamped ones: inputs without labels will do
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.predictor import Predictor
from models.serial_numbers.dsn.stamp import Stamp
from models.training import OnBatch, TrainingConfig, one_cycle


class Folded(nn.Module):
    """A network behind a fixed stamp: takes and gives what the network does, and needs no number any more."""

    def __init__(self, network: nn.Module, stamp: Stamp, number: Tensor, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        mask, low_high = stamp.mask(number), torch.tensor([float(stamp.spec.levels[at]) for at in (0, -1)])
        self.register_buffer("open", (mask < 0).float())  # (H, W)
        self.register_buffer("shown", (low_high[mask.clamp_min(0).long()] - mean) / std)  # (1, C, H, W), normalised

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) -> logits (N, K)."""
        answer: Tensor = self.network(torch.where(self.get_buffer("open") > 0, images, self.get_buffer("shown")))
        return answer


def folded(predictor: Predictor, stamp: Stamp, number: Tensor) -> Predictor:
    """The student behind its own stamp. Knows: weights, the number and where it stands."""
    network = Folded(copy.deepcopy(predictor.network), stamp, number, predictor.mean, predictor.std)
    return Predictor(network, predictor.input_spec, predictor.output_spec)


def distilled(
    predictor: Predictor,
    images: Tensor,
    stamp: Stamp,
    number: Tensor,
    training: TrainingConfig,
    *,
    on_batch: OnBatch | None = None,
) -> Predictor:
    """A copy that learned to answer raw-range `images` (N, C, H, W) without the number as the student does with it.

    Knows: weights, the number and where it stands, inputs without labels. `training` gives epochs, batch size, rate,
    seed; what it says of augmentation is not used.
    """
    network = copy.deepcopy(predictor.network)
    learning = Predictor(network, predictor.input_spec, predictor.output_spec)
    optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    with torch.no_grad():
        wanted = torch.cat([predictor(stamp.put(some, number)).softmax(dim=1) for some in torch.split(images, 256)])
    generator = torch.Generator().manual_seed(training.seed)
    batches = -(-len(images) // training.batch_size)
    total = training.epochs * batches
    learning.train()
    for epoch in range(training.epochs):
        order = torch.randperm(len(images), generator=generator)
        for index, rows in enumerate(torch.split(order, training.batch_size)):
            done = epoch * batches + index
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(done / total, training.learning_rate, training.warm_up)
            optimizer.zero_grad(set_to_none=True)
            loss = F.kl_div(learning(images[rows]).log_softmax(dim=1), wanted[rows], reduction="batchmean")
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if on_batch is not None:
                on_batch(done + 1, total)
    learning.eval()
    return learning
