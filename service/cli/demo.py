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
    home, url = settings.home, settings.server_url
    signet = f".venv/bin/signet --home {home} --server {url}"
    predict_url = f"{url}/v1/models/{MODEL}/predict"
    forms = f"$(for i in 0 1 2 3 4 5 6 7; do printf ' -F images=@{home}/samples/%s.png' $i; done)"
    labels = 'python3 -c \'import json,sys; print([p["label"] for p in json.load(sys.stdin)["predictions"]])\''
    bearer = f'-H "Authorization: Bearer $(cat {home}/licenses/globex.key)"'
    admin = f'-H "Authorization: Bearer $(cat {home}/keys/owner.key)"'
    client = (
        "from signet_client import Client\n"
        f"with Client('{home}/licenses/acme.lic', trust='{home}/issuer.pub', server='{url}') as client:\n"
        f"    print(client.predict('{home}/samples/3.png').label)"
    )
    console.print()
    console.print(Rule(f"Signet serves at {url}   (Ctrl-C stops it)", style="green"))
    for heading, *lines in (
        ("the eight samples, with Acme's fingerprint license: 8 of 8 right",
         f"{signet} predict {home}/samples/*.png --license {home}/licenses/acme.lic"),
        ("the same with curl and Globex's license key: labels 0 to 7",
         f"curl -s {bearer} {forms} {predict_url} | {labels}"),
        ("the same eight as a stranger: about 1 right, and nothing says so",
         f"{signet} predict {home}/samples/*.png --model {MODEL}",
         f"curl -s {forms} {predict_url} | {labels}"),
        ("the Python client", f".venv/bin/python -c \"{client}\""),
        ("suspend Globex and see the plain refusal; then reinstate it",
         f"curl -s -X POST {admin} {url}/v1/licenses/{license_id}/suspend",
         f"curl -s {bearer} {forms} {predict_url}",
         f"curl -s -X POST {admin} {url}/v1/licenses/{license_id}/reinstate"),
        ("the API's documentation", f"{url}/docs"),
    ):  # fmt: skip
        console.print(f"\n[dim]# {heading}[/]", highlight=False)
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print()
