"""The served graph: raw-range images in, logits out; normalisation is inside, so that no caller can forget it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.errors import SpecError
from models.specs import InputSpec, OutputSpec


class Predictor(nn.Module):
    """A network with its input's mean and standard deviation, giving logits whatever the network itself gives.

    It puts the network into eval mode. Raises SpecError naming `output_spec.classes` when the network's output, seen
    on first use, is not (N, K).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, input_spec: InputSpec, output_spec: OutputSpec) -> None:
        super().__init__()
        self.network = network
        self.input_spec = input_spec
        self.output_spec = output_spec
        self.register_buffer("mean", torch.tensor(input_spec.mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(input_spec.std).reshape(1, -1, 1, 1), persistent=False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Raw-range float32 (N, C, H, W) -> logits float32 (N, K).

        A network that gives probabilities is asked for their logarithms: softmax takes those back to themselves.
        """
        assert images.dtype == torch.float32, "raw-range images are float32"
        assert tuple(images.shape[1:]) == self.input_spec.shape, f"images are (N, *{self.input_spec.shape})"
        output: Tensor = self.network((images - self.mean) / self.std)  # (N, C, H, W) -> (N, K)
        expected = (images.shape[0], self.output_spec.classes)
        if output.shape != expected:
            found = tuple(output.shape)
            raise SpecError("output_spec.classes", f"the network answers with shape {found}, not {expected}")
        if self.output_spec.kind == "probabilities":
            output = output.clamp_min(torch.finfo(torch.float32).tiny).log()
        return output.float()


def scores(logits: Tensor) -> Tensor:
    """Logits (N, K) -> the scores of an answer, softmax in float32 (N, K)."""
    return logits.float().softmax(dim=1)


def predict(predictor: Predictor, images: Tensor, *, batch_size: int = 64) -> Tensor:
    """Raw-range float32 (N, C, H, W) -> logits (N, K), in batches; 64 is where a CPU is fastest (cache)."""
    with torch.inference_mode():
        parts = [predictor(batch) for batch in torch.split(images, batch_size)]
    return torch.cat(parts) if parts else torch.empty(0, predictor.output_spec.classes)
