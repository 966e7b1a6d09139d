"""What the demonstration of ownership needs: a committed model, a stolen copy, and a network without the marks."""

from pathlib import Path
from typing import Any

from models import data, networks
from models.attacks.fine_tuning import fine_tune
from models.checkpoints import decode_weights, encode_weights
from models.evaluation.mark_parameters import MARKS
from models.training import presets
from service.catalogue.artefacts import Artefact, read_folder
from service.cli.api import Api, Options, errors
from service.cli.committing import commit_version
from service.cli.marking import Wish
from service.settings import Settings

_EPOCHS = 5  # of the thief's


def make(settings: Settings, options: Options, api: Api, name: str) -> None:
    """Each thing that is not there yet. The dataset is called as the model is."""
    if not api.every("/v1/ownership/commitments", model=name):
        commit_version(options, api, name, None, Wish(MARKS, None, None, name, None))
    folder = settings.home / "suspects"
    stolen, unmarked = folder / "fine-tuned.safetensors", folder / "unmarked.safetensors"
    folder.mkdir(mode=0o700, exist_ok=True)
    model = api.call("GET", f"/v1/models/{name}")
    if not stolen.exists():
        errors.print("training a stolen copy on", highlight=False)
        _write(stolen, _fine_tuned(stored(settings, model), name))
    if not unmarked.exists():
        _write(unmarked, read_folder(settings.home / "models" / name / "1").weights)


def stored(settings: Settings, model: dict[str, Any]) -> Artefact:
    """The served version's files in the home."""
    number = next(version["version"] for version in model["versions"] if version["state"] == "serving")
    return read_folder(settings.home / "models" / model["name"] / str(number))


def _fine_tuned(artefact: Artefact, dataset: str) -> bytes:
    network = networks.build(artefact.manifest.network, artefact.manifest.network_config)
    decode_weights(network, artefact.weights)
    stolen, _ = fine_tune(network, data.load(dataset), presets(dataset), epochs=_EPOCHS)
    return encode_weights(stolen)


def _write(path: Path, weights: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(weights)
    part.replace(path)
