"""ActiveGuard's own setting: network and control layer in one graph, which can leave as one file (sections 2.1, 2.2).

    scores = protected(fingerprints, images)     (m, C, H, W), (N, C, H, W) -> (N, K)

The network's answers where the fingerprints authenticate, else a pseudo-random answer that depends on the image alone,
so that asking twice or averaging tells nothing. Not described in the paper, which reloads the network without the layer
and draws at random: here one graph does both, and always the same work.

What this does not do. There is no secret inside a file: whoever holds it can cut the layer off and have the network, or
read the registered codewords and make images for them. It keeps an honest user's mistake, a copied program and a
stranger behind somebody else's interface out, nothing more. With the paper's check (`ControlLayer`) noise gets in at
rates of percents; with codewords it does not. What has to hold against the holder of the weights is behind a gateway.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.errors import SpecError
from models.fingerprints.activeguard.codewords import Codewords
from models.fingerprints.activeguard.control_layer import ControlLayer
from models.predictor import Predictor
from models.specs import LEVELS

DOMAIN = b"signet/protected-decoy/1\0"
PRIME = 2**31 - 1
SHARPNESS = 4.0  # how certain an answer that means nothing sounds: its top score is 0.96 at the median


class ProtectedNetwork(nn.Module):
    """A network that answers strangers with noise; `length` fingerprints are shown with every batch of images.

    `control` is the paper's check, each fingerprint by itself, or a table of codewords (L, K) or sequences (L, m, K).
    `key` makes the answers to strangers this file's own; it is in the file. Raises SpecError naming `length`.
    """

    factors: Tensor
    offsets: Tensor

    def __init__(self, predictor: Predictor, control: ControlLayer | Codewords, *, key: bytes, length: int = 1) -> None:
        super().__init__()
        expected = control.length if isinstance(control, Codewords) else length
        if length != expected or length < 1:
            raise SpecError("length", f"must be {max(expected, 1)}: so many fingerprints a license has")
        self.predictor = predictor
        self.control = control
        self.length = length
        pixels, classes = int(np.prod(predictor.input_spec.shape)), predictor.output_spec.classes
        words = _words(key, (pixels + 1) * classes).reshape(pixels + 1, classes)
        self.register_buffer("factors", words[:-1].clone(), persistent=False)  # (D, K)
        self.register_buffer("offsets", words[-1].clone(), persistent=False)  # (K,)
        self.eval()

    def forward(self, fingerprints: Tensor, images: Tensor) -> Tensor:
        """Raw-range float32 (m, C, H, W) and (N, C, H, W) -> scores (N, K)."""
        answers = self.predictor(images).softmax(dim=1)
        return torch.where(self.authorized(fingerprints), answers, self.decoys(images))

    def authorized(self, fingerprints: Tensor) -> Tensor:
        """Raw-range (m, C, H, W) -> a single bool: all fingerprints pass, in their order."""
        assert fingerprints.shape[0] == self.length, f"a license has {self.length} fingerprint(s)"
        p = self.predictor(fingerprints).softmax(dim=1)  # (m, K)
        if isinstance(self.control, ControlLayer):
            return self.control.authenticate(p).authorized.all()
        return self.control.authenticate(p[None]).authorized[0]

    def decoys(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> scores (N, K): all classes alike, the same for the same 8-bit image.

        h_k = sum_i a_ik g_i + b_k modulo a prime, over the grey levels g, gives K uniform numbers; the softmax of
        Gumbel variables made of them has a uniform arg max.
        """
        low, high = self.predictor.input_spec.value_range
        levels = ((images.double() - low) * (LEVELS / (high - low))).round().clamp(0, LEVELS)
        sums = levels.long().flatten(1) @ self.factors + self.offsets  # (N, D) (D, K) -> (N, K), below 2^63
        uniform = ((sums % PRIME).double() + 0.5) / PRIME
        return (-SHARPNESS * (-uniform.log()).log()).float().softmax(dim=1)

    def example(self) -> tuple[Tensor, Tensor]:
        """Inputs of the right shape: m fingerprints and two images, black."""
        shape = self.predictor.input_spec.shape
        return torch.zeros(self.length, *shape), torch.zeros(2, *shape)


def export(network: ProtectedNetwork) -> torch.export.ExportedProgram:
    """One graph for `torch.export.save`, for any number of images."""
    return torch.export.export(network, network.example(), dynamic_shapes=_shapes())


def export_onnx(network: ProtectedNetwork, path: Path) -> None:
    """The same as one ONNX file with inputs `fingerprints`, `images` and output `scores`.

    Raises SpecError naming `onnx` when the packages that write it are not there.
    """
    try:
        torch.onnx.export(
            network,
            network.example(),
            path,
            input_names=["fingerprints", "images"],
            output_names=["scores"],
            dynamic_shapes=_shapes(),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except ImportError as error:
        raise SpecError("onnx", "cannot be written without the packages onnx and onnxscript") from error


def _shapes() -> dict[str, dict[int, torch.export.Dim]]:
    return {"fingerprints": {}, "images": {0: torch.export.Dim("count", min=1)}}


def _words(key: bytes, count: int) -> Tensor:
    """Integers below the prime, int64 (count,), from SHAKE-256 over the key; the bias is below 2^-32."""
    stream = hashlib.shake_256(DOMAIN + key).digest(8 * count)
    words = np.frombuffer(stream, dtype="<u8") % np.uint64(PRIME)
    return torch.from_numpy(words.astype(np.int64))
