"""Registering commitments, and holding suspects against them."""

import asyncio
import hashlib
import re
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import BinaryIO

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from signet_client.canonical import from_base64url, from_json
from signet_client.evidence import STATEMENT, signed_bytes
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.checkpoints import decode_tensors
from models.errors import ModelError
from models.evaluation.ownership import LOG10_TRIES, Verification
from models.evaluation.ownership import verify as hold_against
from models.watermarks.registered import Commitment, MarkParameters
from service.audit.service import Act, record, take_turn
from service.catalogue.artefacts import Artefact
from service.catalogue.tables import Model, ModelVersion
from service.database import reading
from service.errors import Conflict, InvalidInput
from service.gateway import Gateway
from service.ids import MODEL_NAME_BODY, new_id
from service.ownership import evidence
from service.ownership.repository import (
    count_commitments,
    count_openings,
    get_commitment_or_raise,
    get_version,
)
from service.ownership.schemas import CommitmentCreate
from service.ownership.tables import OwnershipCommitment, OwnershipVerification, Verdict

log = structlog.get_logger(__name__)
_ABOUT = re.compile(rf"({MODEL_NAME_BODY})/([1-9][0-9]{{0,8}})")
_PARAMETERS = {field.name for field in fields(MarkParameters)}


async def register(gateway: Gateway, act: Act, wanted: CommitmentCreate) -> OwnershipCommitment:
    """Register a statement that its owner signed, and sign a receipt with the time.

    Raises:
        InvalidInput: naming what does not hold. Conflict: it is registered already, or the version's files are broken.
    """
    data = wanted.statement.encode()
    commitment = _statement(data)
    _check_signature(data, wanted.public_key, wanted.signature)
    if commitment.parameters.owner != wanted.public_key:
        raise InvalidInput("statement.parameters.owner", "is not the public key that signed the statement")
    async with reading(gateway.sessions) as session:
        name, version = await _version(session, commitment)
    await asyncio.to_thread(_check_reference, gateway, commitment, name, version)
    async with gateway.sessions.begin() as session:
        await take_turn(session)
        digest = hashlib.sha256(data).hexdigest()
        statement = select(OwnershipCommitment.id).where(OwnershipCommitment.statement_sha256 == digest)
        if await session.scalar(statement) is not None:
            raise Conflict("statement", "this statement is registered already")
        commitment_id, now = new_id("com"), act.clock()
        row = OwnershipCommitment(
            id=commitment_id,
            model_id=version.model_id,
            version_id=version.id,
            statement=data,
            statement_sha256=digest,
            public_key=wanted.public_key,
            signature=wanted.signature,
            receipt=evidence.receipt(gateway.ring, commitment_id, data, wanted.public_key, now),
            created_at=now,
        )
        session.add(row)
        await record(session, act, "ownership.committed", commitment_id, version=version.id, statement=digest)
    log.info("ownership.committed", commitment=commitment_id, model=name, version=version.number)
    return row


@dataclass(frozen=True, slots=True)
class Opened:
    """A mark of a commitment, and the key that opens it as it was sent."""

    commitment_id: str
    mark: int
    mark_key: str = field(repr=False)


async def verify(
    gateway: Gateway, act: Act, opened: Opened, suspect: BinaryIO, known_since: datetime | None
) -> OwnershipVerification:
    """Hold a suspect against an opened mark, and sign what was found. No connection is held while it is read.

    `known_since` is when the suspect first appeared, as the owner says.

    Raises:
        NotFound. InvalidInput: a key that is not the mark's, a time to come, or a suspect that cannot be read; naming
        the part. Conflict: the marked version's own files cannot be used.
    """
    if known_since is not None and known_since > act.clock():
        raise InvalidInput("suspect_known_since", "lies in the future")
    key, case = _mark_key(opened.mark_key), await _case(gateway, opened.commitment_id, known_since)
    try:
        commitment, found = await gateway.verifier.run(lambda: _hold(gateway, case, opened.mark, key, suspect))
    except ModelError as error:
        raise _refusal(error, case) from None
    async with reading(gateway.sessions) as session:
        openings = await count_openings(session, case.row.id, found.mark, but=found.suspect_sha256)
    verification_id, now = new_id("vfy"), act.clock()
    facts = evidence.Facts(verification_id, key, case.commitments, openings, known_since, now)
    done = OwnershipVerification(
        id=verification_id,
        commitment_id=case.row.id,
        mark=found.mark,
        verdict=Verdict.VERIFIED if found.verified else Verdict.NOT_VERIFIED,
        matches=found.reading.matches,
        log10_adjusted_p=found.reading.log10_adjusted_p,
        suspect_sha256=found.suspect_sha256,
        suspect_known_since=known_since,
        evidence=evidence.write(gateway.ring, case.row, commitment.parameters, found, facts),
        created_at=now,
    )
    details = {"commitment": case.row.id, "mark": found.mark, "verdict": done.verdict}
    async with gateway.sessions.begin() as session:
        session.add(done)
        await record(session, act, "ownership.verified", done.id, **details)
    log.info("ownership.verified", verification=done.id, **details)
    return done


@dataclass(frozen=True, slots=True)
class _Case:
    """A commitment, the version it is about, how many are registered, and what may have been tried before it was."""

    row: OwnershipCommitment
    name: str
    version: ModelVersion
    commitments: int
    log10_tries: float


async def _case(gateway: Gateway, commitment_id: str, known_since: datetime | None) -> _Case:
    async with reading(gateway.sessions) as session:
        row = await get_commitment_or_raise(session, commitment_id)
        version = await session.get_one(ModelVersion, row.version_id)
        name = (await session.get_one(Model, row.model_id)).name
        tries = 0.0 if evidence.appeared_later(row, known_since) else LOG10_TRIES
        return _Case(row, name, version, await count_commitments(session), tries)


def _hold(gateway: Gateway, case: _Case, mark: int, key: bytes, suspect: BinaryIO) -> tuple[Commitment, Verification]:
    """In the verifier's thread: of all suspects that wait there, one is in memory."""
    commitment = Commitment.from_bytes(case.row.statement)
    reference = _stored(gateway, case.name, case.version).weights
    found = hold_against(
        suspect.read(),
        commitment,
        mark,
        key,
        reference,
        registered=case.commitments,
        log10_tries=case.log10_tries,
    )
    return commitment, found


def _refusal(error: ModelError, case: _Case) -> InvalidInput | Conflict:
    """The caller's fault, or that of what we keep."""
    where, _, tensor = error.field.partition(".")
    if where in ("mark", "mark_key"):
        return InvalidInput(error.field, error.message)
    if where == "weights":
        return InvalidInput(f"suspect.{tensor}" if tensor else "suspect", error.message)
    about = f"{case.name}/{case.version.number}"
    log.error("ownership.reference.unusable", version=about, reason=str(error))
    return Conflict("commitment_id", f"the commitment to {about} cannot be used here: {error}")


def _statement(data: bytes) -> Commitment:
    try:
        from_json(data)
        return Commitment.from_bytes(data)
    except ModelError as error:
        within = "parameters." if error.field in _PARAMETERS else ""
        place = f"statement.{within}{error.field}" if error.field != "commitment" else "statement"
        raise InvalidInput(place, error.message) from None
    except (ValueError, OverflowError, RecursionError):  # numbers beyond a float's range, halves of surrogate pairs
        raise InvalidInput(
            "statement", "is not canonical JSON, or holds what JSON readers do not agree about"
        ) from None


def _check_signature(statement: bytes, public_key: str, signature: str) -> None:
    try:
        key = Ed25519PublicKey.from_public_bytes(from_base64url(public_key))
    except ValueError:
        raise InvalidInput("public_key", "is not an Ed25519 public key: 32 bytes in base64url") from None
    content = from_json(statement)
    assert isinstance(content, dict)  # noqa: S101 - it was read as a commitment
    try:
        key.verify(from_base64url(signature), signed_bytes(STATEMENT, public_key, content))
    except (ValueError, InvalidSignature):
        raise InvalidInput("signature", "is not this key's signature of this statement") from None


async def _version(session: AsyncSession, commitment: Commitment) -> tuple[str, ModelVersion]:
    field = "statement.parameters.model"
    about = _ABOUT.fullmatch(commitment.parameters.model)
    if about is None:
        raise InvalidInput(field, "names a model and its version, as in digits/2")
    version = await get_version(session, about[1], int(about[2]))
    if version is None:
        raise InvalidInput(field, "no such version of a model here; add it first")
    return about[1], version


def _check_reference(gateway: Gateway, commitment: Commitment, name: str, version: ModelVersion) -> None:
    """The statement is about the weights that the version has."""
    artefact = _stored(gateway, name, version)
    parameters, manifest = commitment.parameters, artefact.manifest
    if commitment.reference_sha256 != manifest.weights_sha256:
        raise InvalidInput("statement.reference_sha256", "is not the digest of this version's weights")
    if (parameters.network, dict(parameters.network_config)) != (manifest.network, dict(manifest.network_config)):
        raise InvalidInput("statement.parameters.network", "is not this version's network, or its configuration is not")
    tensor = decode_tensors(artefact.weights).get(parameters.layer)
    if tensor is None:
        raise InvalidInput("statement.parameters.layer", "is not a tensor of this version's weights")
    if tuple(tensor.shape) != parameters.shape:
        raise InvalidInput("statement.parameters.shape", f"the layer's is {list(tensor.shape)}")


def _stored(gateway: Gateway, name: str, version: ModelVersion) -> Artefact:
    try:
        return gateway.store.read(name, version.number, bytes.fromhex(version.digest))
    except ModelError as error:
        log.error("ownership.version.unusable", model=name, version=version.number, reason=str(error))
        raise Conflict(
            error.field, f"version {version.number} of {name} cannot be read: its files fail their check"
        ) from error


def _mark_key(text: str) -> bytes:
    try:
        return from_base64url(text)
    except ValueError:
        raise InvalidInput("mark_key", "is not base64url without padding") from None
