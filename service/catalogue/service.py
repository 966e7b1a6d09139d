"""Adding, listing and retiring versions."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.checkpoints import check_digests, sign_manifest, verify_manifest
from service.audit.service import Act, record, take_turn
from service.catalogue.artefacts import Artefact
from service.catalogue.schemas import ModelRead, VersionRead
from service.catalogue.tables import Model, ModelVersion, UnauthorizedPolicy, VersionState
from service.database import ANSWERS
from service.errors import Conflict, InvalidInput, NotFound
from service.gateway import Gateway
from service.ids import is_model_name, new_id
from service.usage.tables import Account


async def checked(gateway: Gateway, artefact: Artefact) -> Artefact:
    """`artefact`, tried out on its own calibration set and signed by us.

    A signature that comes with it must be ours; without one, whoever may call this vouches for it.

    Raises:
        InvalidInput, ModelError: naming the part that does not hold.
    """
    manifest = artefact.manifest
    if not is_model_name(manifest.name):
        raise InvalidInput("manifest.name", "lower-case letters, digits, dot, dash and underscore; 63 at most")
    await asyncio.to_thread(check_digests, manifest, artefact.weights, artefact.calibration, artefact.distillation)
    if manifest.signature is not None or manifest.key_id is not None:
        verify_manifest(manifest, gateway.ring.public_keys())
    await gateway.engine.try_out(artefact)
    unsigned = replace(manifest, key_id=None, signature=None)
    return replace(artefact, manifest=sign_manifest(unsigned, gateway.ring.active_issuer, gateway.ring.issuer))


async def add(
    gateway: Gateway,
    session: AsyncSession,
    act: Act,
    artefact: Artefact,
    staged: Path,
    *,
    unauthorized_policy: UnauthorizedPolicy | None,
    revoked_policy: UnauthorizedPolicy | None,
    serve: bool,
) -> Model:
    """A new version of the manifest's model, which is made if need be. Policies are the model's; absent: unchanged.

    Its files are on the disk already, in the folder `staged`; within the transaction it is only renamed.
    """
    name = artefact.manifest.name
    await take_turn(session)
    model = await session.scalar(select(Model).where(Model.name == name))
    if model is None:
        model = await _new_model(session, act, name)
    latest = await session.scalar(select(func.max(ModelVersion.number)).where(ModelVersion.model_id == model.id))
    number = (latest or 0) + 1
    model.unauthorized_policy = unauthorized_policy or model.unauthorized_policy
    model.revoked_policy = revoked_policy or model.revoked_policy
    revision = model.revision = await record(
        session,
        act,
        "model.version.added",
        f"model:{name}",
        version=number,
        digest=artefact.digest.hex(),
        serve=serve,
        unauthorized_policy=model.unauthorized_policy,
        revoked_policy=model.revoked_policy,
    )
    if serve:
        await _serve_none(session, model)
    version = ModelVersion(
        id=new_id("ver"),
        model_id=model.id,
        number=number,
        state=VersionState.SERVING if serve else VersionState.READY,
        manifest=_listed(artefact),
        digest=artefact.digest.hex(),
        created_at=act.clock(),
        revision=revision,
    )
    session.add(version)
    await session.flush()
    if serve:
        session.info[ANSWERS] = name
    gateway.store.place(staged, name, version.number)
    return model


async def serve(gateway: Gateway, session: AsyncSession, act: Act, name: str, number: int) -> Model:
    """Let this version answer requests that name none; twice changes nothing.

    Raises:
        NotFound. Conflict: it is retired, or it does not load.
    """
    await gateway.sync.try_refresh()  # it may have been added through another gateway a moment ago
    known = gateway.book.models.get(name)
    if known is not None and known.is_in_use(number):
        gateway.engine.retry(known.versions[number])
        await gateway.engine.load(known.versions[number])  # before anything is changed, and before it is others' turn
    await take_turn(session)
    model, version = await _version_or_raise(session, name, number)
    if version.state == VersionState.RETIRED:
        raise Conflict("version", "this version is retired")
    session.info[ANSWERS] = name
    if version.state != VersionState.SERVING:
        await _serve_none(session, model)
        version.state = VersionState.SERVING
        version.revision = await record(session, act, "model.version.served", f"model:{name}", version=number)
    return model


async def retire(session: AsyncSession, act: Act, name: str, number: int) -> Model:
    """Take a version out of use; fingerprints enrolled on it still authenticate. Twice changes nothing.

    Raises:
        NotFound
    """
    await take_turn(session)
    model, version = await _version_or_raise(session, name, number)
    if version.state != VersionState.RETIRED:
        version.state, version.retired_at = VersionState.RETIRED, act.clock()
        version.revision = await record(session, act, "model.version.retired", f"model:{name}", version=number)
    return model


async def set_unloaded(gateway: Gateway, session: AsyncSession, act: Act, name: str, *, unloaded: bool) -> Model:
    """Take a model out of memory on every gateway, or let it answer again; twice changes nothing.

    Raises:
        NotFound. Conflict: the version that it serves does not load.
    """
    known = gateway.book.models.get(name)
    if not unloaded and known is not None and known.chosen is not None:
        gateway.engine.retry(known.chosen)
        await gateway.engine.load(known.chosen)
    await take_turn(session)
    model = await get_model_or_raise(session, name)
    session.info[ANSWERS] = name
    if model.unloaded != unloaded:
        model.unloaded = unloaded
        model.revision = await record(session, act, f"model.{'un' * unloaded}loaded", f"model:{name}")
    return model


async def get_model_or_raise(session: AsyncSession, name: str) -> Model:
    """The model of this name.

    Raises:
        NotFound
    """
    model = await session.scalar(select(Model).where(Model.name == name))
    if model is None:
        raise NotFound("model", "no model of this name")
    return model


async def _version_or_raise(session: AsyncSession, name: str, number: int) -> tuple[Model, ModelVersion]:
    model = await get_model_or_raise(session, name)
    version = await session.scalar(
        select(ModelVersion).where(ModelVersion.model_id == model.id, ModelVersion.number == number)
    )
    if version is None:
        raise NotFound("version", "no such version of this model")
    return model, version


async def _serve_none(session: AsyncSession, model: Model) -> None:
    serving = (ModelVersion.model_id == model.id) & (ModelVersion.state == VersionState.SERVING)
    await session.execute(update(ModelVersion).where(serving).values(state=VersionState.READY))


async def read(session: AsyncSession, models: Sequence[Model]) -> list[ModelRead]:
    """Models with their versions, in one query more."""
    statement = select(ModelVersion).where(ModelVersion.model_id.in_([model.id for model in models]))
    versions = (await session.scalars(statement.order_by(ModelVersion.number))).all()
    return [
        ModelRead(
            name=model.name,
            unauthorized_policy=UnauthorizedPolicy(model.unauthorized_policy),
            revoked_policy=UnauthorizedPolicy(model.revoked_policy),
            unloaded=model.unloaded,
            created_at=model.created_at,
            versions=[_version_read(version) for version in versions if version.model_id == model.id],
        )
        for model in models
    ]


async def _new_model(session: AsyncSession, act: Act, name: str) -> Model:
    policy = UnauthorizedPolicy.DECOY
    model = Model(id=new_id("mdl"), name=name, unauthorized_policy=policy, created_at=act.clock(), revision=0)
    model.revoked_policy = UnauthorizedPolicy.DENY
    session.add(model)
    session.add(Account(id=model.id, quota=None, used=0))  # its strangers'
    await session.flush()
    return model


def _listed(artefact: Artefact) -> dict[str, Any]:
    manifest = artefact.manifest
    return {
        "network": manifest.network,
        "input_spec": manifest.input_spec.to_dict(),
        "output_spec": manifest.output_spec.to_dict(),
        "fingerprints": dict(manifest.fingerprints),
        "metrics": dict(manifest.metrics),
        "weights_sha256": manifest.weights_sha256,
        **({} if manifest.serial_numbers is None else {"serial_numbers": dict(manifest.serial_numbers)}),
    }


def _version_read(version: ModelVersion) -> VersionRead:
    return VersionRead(
        version=version.number,
        state=VersionState(version.state),
        digest=version.digest,
        created_at=version.created_at,
        retired_at=version.retired_at,
        **version.manifest,
    )
