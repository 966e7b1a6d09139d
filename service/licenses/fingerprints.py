"""A license's fingerprints: which answers are allotted to it, and images that the network answers so."""

import asyncio
import io
import secrets
from collections.abc import Set
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image

from models.errors import AllotmentError
from models.fingerprints.activeguard import Codeword, FingerprintOutput, generate
from models.specs import InputSpec
from service.control.book import VersionRecord
from service.database import reading
from service.errors import CapacityExhausted, Conflict, InvalidInput, ServiceError
from service.gateway import Gateway
from service.inference.loaded import Loaded
from service.inputs.body import Part, decode_fingerprints
from service.licenses.allotted import Slots
from service.licenses.credentials import fingerprint_digest
from service.licenses.repository import slots_taken

log = structlog.get_logger(__name__)
Grid = NDArray[np.uint8]
_TRIES = 8  # an answer that three starts do not reach is given up for another
_STARTS = 3
_ATTEMPTS = 2  # another image gets there sooner than more noise on this one


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Made and not yet enrolled: the files that a licensee is handed, in order, and what is kept of them."""

    code: str
    images: tuple[bytes, ...] = field(repr=False)
    digest: bytes = field(repr=False)
    slots: Slots


async def make(gateway: Gateway, version: VersionRecord, license_id: str, root: str, kept: Slots = ()) -> Fingerprints:
    """Fingerprints on a version for a license whose receipt key hangs on `root`: with the slots `kept`, or free ones.

    Raises:
        CapacityExhausted: too few sequences of answers are free. Conflict: the version cannot be loaded,
            or the network gives none of several answers. ServiceError: what was made does not read back.
    """
    served = await gateway.engine.load(version)
    for _ in range(_TRIES):
        slots = kept or await _free_slots(gateway, served)
        answers = await gateway.allotted.answers(served, license_id, root, slots)
        grids = []
        for answer in answers:
            grid = await _reach(gateway, served, answer)
            if grid is None:
                break
            grids.append(grid)
        else:
            return await _carried(gateway, served, slots, np.stack(grids))
        log.debug("license.fingerprint.unsolved", model=version.model_name, slots=slots)
    raise Conflict("model", "its network gives none of the answers that were tried; issue a key, or another version")


async def _reach(gateway: Gateway, served: Loaded, answer: FingerprintOutput | Codeword) -> Grid | None:
    for _ in range(_STARTS):  # each by itself: licensees' answers come between
        grid = await gateway.engine.run(partial(make_one, served, answer))
        if grid is not None:
            return grid
    return None


def make_one(served: Loaded, answer: FingerprintOutput | Codeword) -> Grid | None:
    """A fingerprint with this answer, grey levels (C, H, W), from a random calibration image and 128 random bits.

    None: this image does not get there.
    """
    source = served.calibration[secrets.randbelow(len(served.calibration))][None]
    settings = served.fingerprints.generation(_ATTEMPTS)
    made = generate(served.predictor, source, [answer], settings=settings)  # type: ignore[arg-type]  # one is of a kind
    return np.asarray(made.grid[0], dtype=np.uint8) if bool(made.solved[0]) else None


async def _free_slots(gateway: Gateway, served: Loaded) -> Slots:
    async with reading(gateway.sessions) as session:
        taken = await slots_taken(session, served.version.id, gateway.clock())
    try:
        return draw(served, taken)
    except AllotmentError as error:
        raise CapacityExhausted(
            f"fingerprints.{error.field}",
            f"{error.message}; or revoke a license, issue a key, or add a version whose manifest allows more",
        ) from None


def draw(served: Loaded, taken: Set[Slots]) -> Slots:
    """Free slots, at random: whoever issues at the same time would take the lowest too. Raises AllotmentError."""
    sets = served.fingerprints.sets(len(taken) + 1)
    return sets.slots(sets.draw({sets.number(slots) for slots in taken if len(slots) == sets.length}))


async def _carried(gateway: Gateway, served: Loaded, slots: Slots, grid: Grid) -> Fingerprints:
    """As the licensee's files will be read at a session: they have to give the digest that is enrolled."""
    images = tuple(encode(one, served.input_spec) for one in grid)
    root = gateway.ring.active_root
    digest = fingerprint_digest(gateway.ring, root, served.version, grid)
    parts = [Part("fingerprint", image) for image in images]
    try:
        values = await asyncio.to_thread(
            decode_fingerprints, gateway.decoder, parts, served.input_spec, served.fingerprints.longest
        )
        shown = fingerprint_digest(gateway.ring, root, served.version, served.input_spec.to_grid(values))
    except InvalidInput as error:
        log.error("license.fingerprint.refused", reason=error.detail)
        shown = b""
    if shown != digest:
        log.error("license.fingerprint.unreadable", model=served.version.model_name, version=served.version.number)
        raise ServiceError("the fingerprint that was made does not read back as itself")
    return Fingerprints(served.fingerprints.kind, images, digest, slots)


def encode(grid: Grid, spec: InputSpec) -> bytes:
    """Grey levels (C, H, W) in the form that the model takes: PNG, or NPY where it takes no pictures."""
    file = io.BytesIO()
    if spec.mode == "tensor":
        np.save(file, grid, allow_pickle=False)
    else:
        Image.fromarray(grid[0] if spec.mode == "L" else grid.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()
