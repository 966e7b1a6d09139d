"""What `make run` sets up: a trained LeNet-5, two customers, sample pictures; and the lines to paste."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.rule import Rule
from signet_client import license_file, trust

from models import data, networks
from models.checkpoints import decode_weights
from models.predictor import Predictor, predict
from service.catalogue.artefacts import Artefact
from service.cli.api import Api, Options, console, errors
from service.cli.model import upload
from service.cli.training import train_artefact
from service.keyring import write_private
from service.settings import Settings

MODEL = "digits"
SAMPLES = 8


def set_up(settings: Settings, options: Options) -> Callable[[], None]:
    """Make what is not there yet; gives back what prints the lines once the gateway answers."""
    home = Path(settings.home)
    api = Api(Options(settings, None, None, options.as_json))
    served = {model["name"]: model for model in api.every("/v1/models")}
    if MODEL not in served:
        artefact = train_artefact(MODEL, "lenet5", MODEL, None)
        upload(api, artefact)
        _write_samples(home / "samples", artefact)
    fingerprint, key = home / "licenses" / "acme.lic", home / "licenses" / "globex.lic"
    if not fingerprint.exists():
        errors.print("issuing a fingerprint license to Acme and a key license to Globex", highlight=False)
        _issue(api, "Acme Optics", "fingerprint", fingerprint)
        _issue(api, "Globex Robotics", "key", key)
    carried = license_file.decode(key.read_text(), trust.resolve(home / "issuer.pub"))
    key_text = home / "licenses" / "globex.key"
    if not key_text.exists() and isinstance(carried.credential, license_file.KeyCredential):
        write_private(key_text, carried.credential.key + "\n")
    return lambda: _announce(settings, carried.license)


def _issue(api: Api, name: str, credential: str, path: Path) -> None:
    customer = api.call("POST", "/v1/customers", json={"name": name})
    body = {"customer_id": customer["id"], "model": MODEL, "credential": credential, "terms": {}}
    write_private(path, api.call("POST", "/v1/licenses", json=body)["license_file"])


def _write_samples(folder: Path, artefact: Artefact) -> None:
    """One held-out picture of each of the first digits, among those that the network gets right."""
    manifest = artefact.manifest
    network = networks.build(manifest.network, manifest.network_config)
    decode_weights(network, artefact.weights)
    predictor = Predictor(network, manifest.input_spec, manifest.output_spec)
    test = data.load(MODEL).test
    found = predict(predictor, predictor.input_spec.from_grid(torch.from_numpy(test.images))).argmax(1).numpy()
    folder.mkdir(exist_ok=True)
    for digit in range(SAMPLES):
        first = np.flatnonzero((test.labels == digit) & (found == digit))[0]
        picture = io.BytesIO()
        Image.fromarray(test.images[first, 0]).save(picture, "PNG")
        (folder / f"{digit}.png").write_bytes(picture.getvalue())


def _announce(settings: Settings, license_id: str) -> None:
    console.print()
    console.print(Rule(f"Signet serves at {settings.server_url}   (Ctrl-C stops it)", style="green"))
    for heading, lines in paste_lines(settings, license_id).items():
        console.print(f"\n[dim]# {heading}[/]", highlight=False)
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print()


def paste_lines(settings: Settings, license_id: str) -> dict[str, list[str]]:
    """Headings and the shell lines under them. Secrets are read from their 0600 files by the shell, never shown."""
    home, url = settings.home, settings.server_url
    chosen = "" if home == Path(".signet") else f" --home {home}"
    signet = f".venv/bin/signet{chosen} --server {url} predict {home}/samples/*.png"
    images = f"-Fimages=@{home}/samples/{{0..7}}.png {url}/v1/models/{MODEL}/predict"
    labels = 'python3 -c \'import json,sys; print([p["label"] for p in json.load(sys.stdin)["predictions"]])\''
    bearer = f'-H "Authorization: Bearer $(cat {home}/licenses/globex.key)"'
    admin = f'-X POST -H "Authorization: Bearer $(cat {home}/keys/owner.key)" {url}/v1/licenses/{license_id}'
    client = [
        '.venv/bin/python -c "',
        "from signet_client import Client",
        f"client = Client('{home}/licenses/acme.lic', trust='{home}/issuer.pub', server='{url}')",
        f"print(client.predict('{home}/samples/3.png').label)",
        '"',
    ]
    return {
        "eight samples with Acme's fingerprint license: 8 of 8 right": [f"{signet} --license {home}/licenses/acme.lic"],
        "with Globex's license key and curl: labels 0 to 7": [f"curl -s {bearer} {images} | {labels}"],
        "as a stranger: about 1 of 8 right, and nothing says so": [
            f"{signet} --model {MODEL}",
            f"curl -s {images} | {labels}",
        ],
        "the Python client": client,
        "suspend Globex, see the plain refusal, reinstate it": [
            f"curl -s {admin}/suspend; echo",
            f"curl -s {bearer} {images}; echo",
            f"curl -s {admin}/reinstate; echo",
        ],
        "the API's documentation": [f"{url}/docs"],
    }
