"""What `make run` sets up: a LeNet-5 with its owner's marks, two customers, sample pictures; and the lines to paste."""

import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.rule import Rule
from rich.text import Text
from signet_client import license_file, trust

from models import data, networks
from models.checkpoints import decode_weights
from models.predictor import Predictor, predict
from service.catalogue.artefacts import Artefact
from service.cli import suspects
from service.cli.api import Api, Options, console, errors
from service.cli.home import public_keys_path
from service.cli.model import upload
from service.cli.training import train_artefact
from service.keyring import write_private
from service.settings import Settings

MODEL = "digits"
SAMPLES = 8


def set_up(settings: Settings, options: Options) -> Callable[[], None]:
    """Make what is not there yet, each thing by itself: a first start that was interrupted is taken up where it ended.

    Gives back what prints the lines once the gateway answers.
    """
    home = Path(settings.home)
    api = Api(Options(settings, None, options.admin_key_file, options.as_json))
    if all(model["name"] != MODEL for model in api.every("/v1/models")):
        upload(api, train_artefact(MODEL, "lenet5", MODEL, None))
    suspects.make(settings, options, api, MODEL)
    samples = [home / "samples" / f"{digit}.png" for digit in range(SAMPLES)]
    if not all(sample.exists() for sample in samples):
        _write_samples(samples, suspects.stored(settings, api.call("GET", f"/v1/models/{MODEL}")))
    _issue(api, "Acme Optics", "fingerprint", home / "licenses" / "acme.lic")
    _issue(api, "Globex Robotics", "key", home / "licenses" / "globex.lic")
    text = (home / "licenses" / "globex.lic").read_text()
    carried = license_file.decode(text, trust.resolve(public_keys_path(settings)))
    key_text = home / "licenses" / "globex.key"
    if isinstance(carried.credential, license_file.KeyCredential) and not _holds(key_text, carried.credential.key):
        write_private(key_text, carried.credential.key + "\n")
    return lambda: _announce(settings, carried.license)


def _issue(api: Api, name: str, credential: str, path: Path) -> None:
    if path.exists():
        return
    errors.print(f"issuing a {credential} license to {name}", highlight=False)
    found = [customer for customer in api.every("/v1/customers") if customer["name"] == name]
    customer = found[0] if found else api.call("POST", "/v1/customers", json={"name": name})
    body = {"customer_id": customer["id"], "model": MODEL, "credential": credential, "terms": {}}
    write_private(path, api.call("POST", "/v1/licenses", json=body)["license_file"])


def _holds(path: Path, key: str) -> bool:
    return path.exists() and path.read_text().strip() == key


def _write_samples(samples: list[Path], artefact: Artefact) -> None:
    """One held-out picture of each of the first digits, among those that the network gets right."""
    manifest = artefact.manifest
    network = networks.build(manifest.network, manifest.network_config)
    decode_weights(network, artefact.weights)
    predictor = Predictor(network, manifest.input_spec, manifest.output_spec)
    test = data.load(MODEL).test
    found = predict(predictor, predictor.input_spec.from_grid(torch.from_numpy(test.images))).argmax(1).numpy()
    samples[0].parent.mkdir(exist_ok=True)
    for digit, sample in enumerate(samples):
        if sample.exists():
            continue
        first = np.flatnonzero((test.labels == digit) & (found == digit))[0]
        picture = io.BytesIO()
        Image.fromarray(test.images[first, 0]).save(picture, "PNG")
        part = sample.with_suffix(".part")
        part.write_bytes(picture.getvalue())
        part.replace(sample)


def _announce(settings: Settings, license_id: str) -> None:
    console.print()
    console.print(Rule(Text(f"Signet serves at {settings.server_url}   (Ctrl-C stops it)"), style="green"))
    for heading, lines in paste_lines(settings, license_id).items():
        console.print(f"\n[dim]# {heading}[/]", highlight=False)
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print()


def paste_lines(settings: Settings, license_id: str) -> dict[str, list[str]]:
    """Headings and the shell lines under them. Secrets are read from their 0600 files by the shell, never shown."""
    home, url = shlex.quote(str(settings.home)), shlex.quote(settings.server_url)
    chosen = "" if settings.home == Path(".signet") else f" --home {home}"
    command = f".venv/bin/signet{chosen} --server {url}"
    signet = f"{command} predict {home}/samples/*.png"
    verify = f"{command} ownership verify --model {MODEL} {home}/suspects"
    images = f"-Fimages=@{home}/samples/{{0..7}}.png {url}/v1/models/{MODEL}/predict"
    labels = 'python3 -c \'import json,sys; print([p["label"] for p in json.load(sys.stdin)["predictions"]])\''
    bearer = f'-H "Authorization: Bearer $(cat {home}/licenses/globex.key)"'
    admin = f'-X POST -H "Authorization: Bearer $(cat {home}/keys/owner.key)" {url}/v1/licenses/{license_id}'
    license, trusted, sample = (
        _in_python(str(settings.home / name)) for name in ("licenses/acme.lic", "issuer.pub", "samples/3.png")
    )
    client = [
        '.venv/bin/python -c "',
        "from signet_client import Client",
        f"client = Client({license}, trust={trusted}, server={_in_python(settings.server_url)})",
        f"print(client.predict({sample}).label)",
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
        "a stolen copy, trained on by the thief: VERIFIED": [f"{verify}/fine-tuned.safetensors"],
        "a network without the marks: NOT VERIFIED": [f"{verify}/unmarked.safetensors"],
        "the API's documentation": [f"{url}/docs"],
    }


def _in_python(text: str) -> str:
    """A Python string within the shell's double quotes."""
    return re.sub(r'([\\"$`])', r"\\\1", repr(text))
