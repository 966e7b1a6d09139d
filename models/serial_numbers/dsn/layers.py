"""A student's network as a list of layers: what `loader` builds it from again, without code and without a pickle."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.errors import SerialNumberError
from models.serial_numbers.dsn import loader

Layer = dict[str, Any]  # {"kind", "name", "settings"}
SETTINGS: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.Conv2d: (
        "conv2d",
        ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode"),
    ),
    nn.Linear: ("linear", ("in_features", "out_features")),
    nn.BatchNorm2d: ("batch_norm2d", ("num_features", "eps", "affine", "track_running_stats")),
    nn.ReLU: ("relu", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.MaxPool2d: ("max_pool2d", ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    nn.AvgPool2d: ("avg_pool2d", ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")),
}
FLATTEN: Layer = {"kind": "flatten", "name": "", "settings": {}}
FIELD = "serial_numbers.network"


def describe(student: nn.Module) -> list[Layer]:
    """`features`, flattened, and `head`: both are sequences of layers that `loader` knows.

    Raises SerialNumberError naming `serial_numbers.network`.
    """
    return [*_sequence(student, "features"), FLATTEN, *_sequence(student, "head")]


def check(student: nn.Module, images: torch.Tensor) -> None:
    """That the layers are all that the network does: built from them it answers images (N, C, H, W) in the same way.

    Raises SerialNumberError naming `serial_numbers.network`.
    """
    layers = describe(student)
    rebuilt, student = loader.build(layers), student.eval()
    own = {name: tensor.detach() for name, tensor in student.state_dict().items()}
    try:
        rebuilt.load_state_dict(loader.named(layers, own))
        with torch.inference_mode():
            same = torch.equal(rebuilt(images), student(images))
    except (RuntimeError, KeyError):
        same = False
    if not same:
        raise SerialNumberError(FIELD, "does more than its layers `features` and `head`: a bundle could not hold it")


def _sequence(student: nn.Module, part: str) -> list[Layer]:
    sequence = getattr(student, part, None)
    if not isinstance(sequence, nn.Sequential):
        raise SerialNumberError(FIELD, f"must have an nn.Sequential `{part}`, as dsn_mnist has")
    layers = [_layer(f"{part}.{name}", module) for name, module in sequence.named_children()]
    return [layer for layer in layers if layer is not None]


def _layer(name: str, module: nn.Module) -> Layer | None:
    if isinstance(module, nn.Dropout | nn.Identity):
        return None  # does nothing once it is trained
    for kind, (word, attributes) in SETTINGS.items():
        if isinstance(module, kind):
            settings = {attribute: getattr(module, attribute) for attribute in attributes}
            if word in ("conv2d", "linear"):
                settings["bias"] = module.bias is not None
            return {"kind": word, "name": name, "settings": settings}
    raise SerialNumberError(FIELD, f"has the layer {name}, a {type(module).__name__}, which a bundle cannot hold")
