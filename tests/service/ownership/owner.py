"""An owner at work, without the command line: marks a version, signs the statement, opens a mark."""

from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from signet_client.canonical import to_base64url
from signet_client.evidence import STATEMENT, signed_bytes

from models import checkpoints, networks
from models.evaluation.null_model import frequencies
from models.watermarks import registered
from service.catalogue.artefacts import Artefact
from tests.service.catalogue.uploads import resealed

SECRET = b"s" * 32
LAYER = "conv2.weight"
MARKS, DIGITS = 3, 128


@dataclass(frozen=True)
class Committed:
    """A version's marked weights and the statement about them."""

    weights: bytes = field(repr=False)
    commitment: registered.Commitment
    signer: Ed25519PrivateKey = field(repr=False, default_factory=Ed25519PrivateKey.generate)

    @property
    def public_key(self) -> str:
        return to_base64url(self.signer.public_key().public_bytes_raw())

    def body(self, **changes: Any) -> dict[str, str]:
        """What is sent to the registry; a statement given as a dict is signed as it is."""
        content = changes.get("statement", self.commitment.to_dict())
        statement = registered.parameters.canonical(content).decode() if isinstance(content, dict) else content
        signed = content if isinstance(content, dict) else self.commitment.to_dict()
        signature = self.signer.sign(signed_bytes(STATEMENT, self.public_key, signed))
        own = {"public_key": self.public_key, "signature": to_base64url(signature)}
        return {**own, **changes, "statement": statement}

    def key(self, mark: int = 0) -> str:
        """A mark's key, as it is sent when the mark is opened."""
        return to_base64url(registered.mark_key(SECRET, self.commitment.parameters, mark))


def committed(artefact: Artefact, about: str) -> Committed:
    """Marks in the artefact's weights, set at once: no test here is about accuracy."""
    manifest, signer = artefact.manifest, Ed25519PrivateKey.generate()
    network = networks.build(manifest.network, manifest.network_config)
    checkpoints.decode_weights(network, artefact.weights)
    digit_map = registered.map_of_spread(network, LAYER)
    weight = network.get_parameter(LAYER)
    parameters = registered.MarkParameters(
        about,
        manifest.network,
        dict(manifest.network_config),
        LAYER,
        tuple(weight.shape),
        digit_map,
        DIGITS,
        MARKS,
        frequencies([weight.detach()], digit_map),
        owner=to_base64url(signer.public_key().public_bytes_raw()),
    )
    marks = registered.derive_marks(SECRET, parameters)
    registered.set_digits(network, parameters, marks)
    weights = checkpoints.encode_weights(network)
    return Committed(weights, registered.commit(parameters, marks, weights), signer)


def renewed(version: Committed) -> Committed:
    """Another statement about the same weights."""
    parameters = replace(version.commitment.parameters, marks=MARKS - 1)
    marks = registered.derive_marks(SECRET, parameters)
    return replace(version, commitment=registered.commit(parameters, marks, version.weights))


def marked(artefact: Artefact, version: Committed) -> Artefact:
    """The version to upload."""
    return resealed(artefact, weights=version.weights)


async def open_mark(
    admin: httpx.AsyncClient, commitment_id: str, key: str, suspect: bytes, mark: int = 0, **more: str | None
) -> httpx.Response:
    """`POST /v1/ownership/verifications`."""
    given = {name: value for name, value in more.items() if value is not None}
    form = {"commitment_id": commitment_id, "mark": str(mark), "mark_key": key, **given}
    files = {"suspect": ("suspect.safetensors", suspect)}
    return await admin.post("/v1/ownership/verifications", data=form, files=files)
