"""Embed registered marks with given settings and attack them; one line a suspect, chosen on validation images.

python -m benchmarks.marks FOLDER --dataset mnist --spread 2 --attacks prune:0.6 noise:0.2 obfuscate fine_tune:30:1
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from models import data
from models.attacks import obfuscation
from models.attacks.fine_tuning import fine_tune
from models.attacks.noise import add_noise
from models.attacks.overwriting import overwrite
from models.attacks.pruning import prune_globally, prune_layer
from models.checkpoints import decode_weights, encode_weights
from models.data import Dataset
from models.evaluation.null_model import frequencies
from models.evaluation.ownership import verify
from models.networks import build
from models.predictor import Predictor
from models.training import accuracy, presets, train
from models.watermarks import registered
from service.catalogue.artefacts import read_folder
from service.settings import Settings

KEPT = Path("runs/marks")


def main() -> None:
    options = _options()
    dataset = data.load(options.dataset, Settings().data_dir)
    network = build("lenet5", {})
    if options.folder is None:
        train(network, dataset, presets(options.dataset))
    else:
        decode_weights(network, read_folder(options.folder).weights)
    print(f"unmarked: {_accuracies(network, dataset)}", flush=True)
    if options.control:
        _control(network, dataset, options)
    parameters = _parameters(network, options, "lenet5/1")
    marks = registered.derive_marks(b"s" * 32, parameters)
    marked = _marked(network, dataset, parameters, marks, options)
    reference = encode_weights(marked)
    commitment = registered.commit(parameters, marks, reference)
    for attack in ["none", *options.attacks]:
        began = time.monotonic()
        suspect = _attacked(attack, marked, dataset, options)
        verdicts = [verify(encode_weights(suspect), commitment, m.index, m.key, reference) for m in marks]
        worst = max(verdicts, key=lambda verdict: verdict.reading.log10_adjusted_p)
        matches = [verdict.reading.matches for verdict in verdicts]
        print(
            f"{attack}: {_accuracies(suspect, dataset)}, verified {sum(v.verified for v in verdicts)} of {len(marks)}, "
            f"matches {matches} of {parameters.digits}, worst 10^{worst.reading.log10_adjusted_p:.1f} "
            f"({worst.reading.way}, within {worst.reading.tolerance}), {time.monotonic() - began:.0f} s",
            flush=True,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.marks", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="an artefact of LeNet-5; without, one is trained first")
    parser.add_argument("--dataset", choices=data.names(), default="digits")
    parser.add_argument("--layer", default="conv2.weight")
    parser.add_argument("--digits", type=int, default=256)
    parser.add_argument("--marks", type=int, default=3)
    parser.add_argument("--spread", type=float, default=2.5, help="R in standard deviations")
    parser.add_argument("--strength", type=float, default=1.0, help="lambda of Eq. (4)")
    parser.add_argument("--pull", type=int, default=2, help="epochs with the regularizer")
    parser.add_argument("--hold", type=int, default=4, help="epochs around the digits")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate of the embedding")
    parser.add_argument("--control", action="store_true", help="also the same epochs without marks")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--attacks", nargs="*", default=[])
    return parser.parse_args()


def _parameters(network: nn.Module, options: argparse.Namespace, model: str) -> registered.MarkParameters:
    digit_map = registered.map_of_spread(network, options.layer, spread=options.spread)
    weight = network.get_parameter(options.layer)
    shares = frequencies([weight], digit_map)
    shape = tuple(weight.shape)
    return registered.MarkParameters(
        model, "lenet5", {}, options.layer, shape, digit_map, options.digits, options.marks, shares, nonce="0" * 32
    )


def _settings(options: argparse.Namespace) -> registered.EmbeddingSettings:
    training = replace(presets(options.dataset), learning_rate=options.rate, warm_up=0.1, seed=options.seed)
    return registered.EmbeddingSettings(training, options.pull, options.hold, options.strength)


def _marked(
    network: nn.Module,
    dataset: Dataset,
    parameters: registered.MarkParameters,
    marks: tuple[registered.Mark, ...],
    options: argparse.Namespace,
) -> nn.Module:
    """Embedded now, or kept from an earlier run with the same settings."""
    settings = _settings(options)
    recipe = hashlib.sha256(parameters.to_bytes() + repr(settings).encode() + encode_weights(network)).hexdigest()[:16]
    kept = KEPT / f"{recipe}.safetensors"
    marked = copy.deepcopy(network)
    if not kept.exists():
        began = time.monotonic()
        print(registered.embed(marked, dataset, parameters, marks, settings), f"{time.monotonic() - began:.0f} s")
        KEPT.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(encode_weights(marked))
    decode_weights(marked, kept.read_bytes())
    return marked


def _control(network: nn.Module, dataset: Dataset, options: argparse.Namespace) -> None:
    plain, settings = copy.deepcopy(network), _settings(options)
    for epochs, seed in ((options.pull, options.seed), (options.hold, options.seed + 1)):
        config = replace(settings.training, epochs=epochs, seed=seed, weight_decay=0.0, fresh=False)
        train(plain, dataset, config, keep="best" if epochs == options.hold else "last")
    print(f"control: {_accuracies(plain, dataset)}", flush=True)


def _attacked(attack: str, marked: nn.Module, dataset: Dataset, options: argparse.Namespace) -> nn.Module:
    generator = torch.Generator().manual_seed(17)
    name, *values = attack.split(":")
    if name == "prune":
        return prune_layer(marked, options.layer, float(values[0]))
    if name == "prune_globally":
        return prune_globally(marked, float(values[0]))
    if name == "noise":
        return add_noise(marked, float(values[0]), generator=generator)
    if name == "obfuscate":
        changed = obfuscation.rescale_units(obfuscation.permute(marked, generator=generator), generator=generator)
        return obfuscation.add_dummies(changed, generator=generator)
    if name == "fine_tune":
        training = replace(presets(options.dataset), seed=77)
        return fine_tune(marked, dataset, training, epochs=int(values[0]), rate=float(values[1]))[0]
    if name == "overwrite":
        parameters = _parameters(marked, options, "his")
        his = registered.derive_marks(b"t" * 32, parameters)
        settings = replace(_settings(options), training=replace(_settings(options).training, seed=99))
        return overwrite(marked, lambda stolen: registered.embed(stolen, dataset, parameters, his, settings))[0]
    return marked


def _accuracies(network: nn.Module, dataset: Dataset) -> str:
    predictor = Predictor(network, dataset.input_spec, dataset.output_spec)
    return f"validation {accuracy(predictor, dataset.validation):.4f}, test {accuracy(predictor, dataset.test):.4f}"


if __name__ == "__main__":
    main()
