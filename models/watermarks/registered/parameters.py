"""What is public about an owner's marks before they are embedded: the model, the layer, the map, how many digits."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from models.errors import WatermarkError
from models.watermarks.digit_map import BASE, DigitMap

LEAST_DIGITS, MOST_DIGITS = 64, 10_000  # of one mark; to count up the chances takes time as their square
UNIFORM = (1 / BASE,) * BASE
NONCE = re.compile(r"[0-9a-f]{32}")
OWNER = re.compile(r"[A-Za-z0-9_-]{43}|")


@dataclass(frozen=True)
class MarkParameters:
    """The terms on which marks are derived; every mark's positions and digits depend on the owner's secret as well.

    `model` names the model and its version; `layer` is the parameter's name, `shape` its shape; `digits` is n, of
    each of `marks` marks; `null_frequencies` says how often each digit is found in the layer of unmarked networks
    (`models.evaluation.null_model`). `nonce`, 128 random bits in hex, makes these terms like no others, and so the keys
    drawn on them; an experiment gives its own. `owner` is the public key (Ed25519, base64url) that will sign the
    statement, so that nobody else can commit to a mark that he saw opened; a registry insists on it, an experiment
    leaves it empty. Raises WatermarkError naming the field.
    """

    model: str
    network: str
    network_config: Mapping[str, object]
    layer: str
    shape: tuple[int, ...]
    digit_map: DigitMap
    digits: int
    marks: int
    null_frequencies: tuple[float, ...] = UNIFORM
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))
    owner: str = ""

    def __post_init__(self) -> None:
        for name in ("model", "network", "layer"):
            value = getattr(self, name)
            need(name, isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable(), "must be a text")
        need("network_config", isinstance(self.network_config, Mapping), "must be an object")
        need("digit_map", isinstance(self.digit_map, DigitMap), "must hold a and b")
        for name, least in (("digits", LEAST_DIGITS), ("marks", 1)):
            value = getattr(self, name)
            need(name, type(value) is int and value >= least, f"must be an integer of at least {least}")
        sizes = isinstance(self.shape, list | tuple) and all(type(size) is int and size > 0 for size in self.shape)
        need("shape", sizes and 2 <= len(self.shape) <= 5, "must be 2 to 5 positive integers")
        object.__setattr__(self, "shape", tuple(self.shape))
        room = min(MOST_DIGITS, self.size // (2 * self.marks))
        reason = f"{self.marks} marks share half of {self.size} weights, and none needs more than {MOST_DIGITS}"
        need("digits", self.digits <= room, f"must be at most {room}: {reason}")
        _check_frequencies(self)
        for name, form, said in (("nonce", NONCE, "32 lower-case hex digits"), ("owner", OWNER, "a public key")):
            value = getattr(self, name)
            need(name, isinstance(value, str) and form.fullmatch(value) is not None, f"must be {said}")

    @property
    def size(self) -> int:
        """Weights of the layer."""
        return math.prod(self.shape)

    def to_dict(self) -> dict[str, object]:
        """A JSON object that `from_dict` takes back."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        content["network_config"] = dict(self.network_config)
        content["digit_map"] = {"a": self.digit_map.a, "b": self.digit_map.b}
        return content | {"shape": list(self.shape), "null_frequencies": list(self.null_frequencies)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> MarkParameters:
        """Exactly the known fields; raises WatermarkError naming the first that is not right."""
        exactly(content, {each.name for each in fields(cls)}, "parameters")
        exactly(content["digit_map"], {"a", "b"}, "digit_map")
        return cls(**{**content, "digit_map": DigitMap(**content["digit_map"])})

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical(self.to_dict())


def canonical(content: object) -> bytes:
    """Sorted keys, no spaces, UTF-8; raises WatermarkError naming `network_config` for what has no JSON form."""
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WatermarkError("network_config", f"cannot be written as JSON: {error}") from None
    return text.encode()


def need(field: str, holds: bool, message: str) -> None:
    """WatermarkError naming the field, unless it holds."""
    if not holds:
        raise WatermarkError(field, message)


def exactly(content: object, names: set[str], field: str) -> None:
    """An object with these keys, or WatermarkError; it does not name what is too much, which may be a secret."""
    if not isinstance(content, Mapping):
        raise WatermarkError(field, "must be an object")
    for name in sorted(names):
        need(name, name in content, "is missing")
    need(field, len(content) == len(names), f"holds more than it may: {', '.join(sorted(names))}")


def _check_frequencies(parameters: MarkParameters) -> None:
    given = parameters.null_frequencies
    ten = isinstance(given, list | tuple) and len(given) == BASE
    need(
        "null_frequencies",
        ten and all(type(share) is float and 0 <= share <= 1 for share in given),
        "must be ten shares",
    )
    object.__setattr__(parameters, "null_frequencies", tuple(given))
