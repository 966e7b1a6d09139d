"""Asking for a trace: the suspect is checked at once, and held against the students by a job."""

import asyncio
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from models.errors import ModelError
from models.evaluation.tracing import load
from service.audit.service import Act, record
from service.catalogue.artefacts import write_file
from service.catalogue.tables import ModelVersion
from service.database import reading
from service.errors import Conflict, InvalidInput
from service.gateway import Gateway
from service.ids import new_id
from service.jobs.rows import add
from service.jobs.tables import JobKind
from service.keyring import make_private
from service.ownership.traces.case import PROBE, SUSPECT, Case
from service.ownership.traces.repository import get_trace_or_raise, registered_students, version_of
from service.ownership.traces.schemas import ProbeKind
from service.ownership.traces.tables import OwnershipTrace

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: a version by its number or, without one, that which is served."""

    model: str
    version: int | None
    draws: int


async def ask(gateway: Gateway, act: Act, wanted: Wanted, suspect: BinaryIO, probe: BinaryIO | None) -> OwnershipTrace:
    """Check the files, keep them for the job, and ask for it: all of it or nothing.

    Raises:
        InvalidInput: naming `version`, a part of the `suspect` or of the `probe`. Conflict: the version has no
        students, or its files are broken.
    """
    async with reading(gateway.sessions) as session:
        version = await version_of(session, wanted.model, wanted.version)
        if version is None:
            raise InvalidInput("version" if wanted.version else "model", "no such version of a model here")
        students = await registered_students(session, version.id)
    case = await asyncio.to_thread(_case, gateway, wanted.model, version)
    if not students:
        raise Conflict("version", "this version has no students yet, so that nobody can have leaked one")
    files = await gateway.verifier.run(lambda: _checked(case, suspect, probe))
    trace_id, folder = new_id("trc"), None
    incoming = gateway.settings.home / "jobs" / f".{trace_id}.incoming"
    try:
        await asyncio.to_thread(_keep, incoming, files)  # before the transaction: on SQLite nobody else writes in one
        async with gateway.sessions.begin() as session:
            job = add(session, act, JobKind.TRACE, trace_id)
            await session.flush()
            folder = gateway.settings.home / "jobs" / job.id
            row = OwnershipTrace(
                id=trace_id,
                version_id=version.id,
                job_id=job.id,
                suspect_sha256=hashlib.sha256(files[SUSPECT]).hexdigest(),
                probe=ProbeKind.UPLOADED if PROBE in files else ProbeKind.CALIBRATION,
                draws=wanted.draws,
                created_at=act.clock(),
            )
            session.add(row)
            details = {"version": version.id, "suspect": row.suspect_sha256, "job": job.id}
            await record(session, act, "ownership.trace.asked", trace_id, **details)
            incoming.rename(folder)
    except BaseException:
        for left in filter(None, (incoming, folder)):
            shutil.rmtree(left, ignore_errors=True)
        raise
    log.info("ownership.trace.asked", trace=trace_id, **details)
    return row


async def evidence_of(gateway: Gateway, trace_id: str) -> bytes:
    """The signed document.

    Raises:
        NotFound. Conflict: there is none, or none yet.
    """
    async with reading(gateway.sessions) as session:
        row = await get_trace_or_raise(session, trace_id)
    if row.evidence is None:
        raise Conflict("trace_id", f"there is no evidence until its job has succeeded; see job {row.job_id}")
    return row.evidence


def _case(gateway: Gateway, name: str, version: ModelVersion) -> Case:
    try:
        return Case.of(gateway.store.read(name, version.number, bytes.fromhex(version.digest)))
    except ModelError as error:
        raise Conflict(
            error.field, f"version {version.number} of {name} cannot be read: its files fail their check"
        ) from error


def _checked(case: Case, suspect: BinaryIO, probe: BinaryIO | None) -> dict[str, bytes]:
    """The files, which a job can use."""
    files = {SUSPECT: suspect.read()}
    try:
        load(case.shell().network, files[SUSPECT])
    except ModelError as error:
        _, _, tensor = error.field.partition(".")
        message = error.message if tensor else f"cannot be read as weights: {error.message}"
        raise InvalidInput(f"suspect.{tensor}" if tensor else "suspect", message) from None
    if probe is not None:
        files[PROBE] = probe.read()
        try:
            case.probe(files[PROBE])
        except ModelError as error:
            raise InvalidInput(error.field, error.message) from None
    return files


def _keep(folder: Path, files: dict[str, bytes]) -> None:
    make_private(folder)
    for name, data in files.items():
        write_file(folder / name, data)
