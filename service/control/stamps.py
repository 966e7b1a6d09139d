"""Who is asking, by the stamps in the pixels: the number that all images bear, on whichever version it is registered.

Wrong, missing and mixed stamps are all one: nobody's. The bits are read and looked up whatever the images show.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.control.book import CredentialRecord, LicenseRecord, ModelRecord
from service.control.caller import Proof
from service.errors import Conflict
from service.gateway import Gateway
from service.inference.loaded import Loaded
from service.licenses.credentials import find_serial_number, holder

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the pixels of a request show.

    `whole`: each image bears some number, as far as the version that was asked can tell; `some`: at least one does, as
    far as any version can tell.
    `teacher`: the version that the credential belongs to, or the one that was asked.
    """

    teacher: Loaded
    credential: CredentialRecord | None = None
    whole: bool = False
    some: bool = False

    def license(self, gateway: Gateway) -> LicenseRecord | None:
        """Whose number it is, as things are now."""
        return holder(gateway.book, self.credential, gateway.clock())


async def read_stamps(gateway: Gateway, model: ModelRecord, asked: Loaded, inputs: Floats) -> Shown:
    """The stamps of inputs (N, C, H, W), N >= 1, that were decoded for the version `asked`."""
    shown = Shown(asked)
    async for teacher in _readers(gateway, model, asked):
        numbers = await gateway.engine.run(partial(teacher.numbers, inputs, asked.input_spec))
        legible = (numbers >= 0).all(axis=1)
        credential = find_serial_number(gateway.ring, gateway.book, teacher.version, numbers)
        if teacher is asked:
            shown = Shown(asked, credential, bool(legible.all()), bool(legible.any()))
        elif credential is not None and shown.credential is None:
            shown = Shown(teacher, credential, whole=True, some=True)
        elif legible.any():
            shown = replace(shown, some=True)
    return shown


def identify_stamped(gateway: Gateway, proof: Proof, shown: Shown, *, secret: bool) -> LicenseRecord | None:
    """The license that the token or key shown (`secret`: there is one) and the pixels prove together; None for a
    stranger.

    A token or key shown beside a stamp must be the same license's. A license by serial number proves itself in each
    image: its token alone is not enough. A key's or a fingerprint's is, whatever the pixels happen to show.
    """
    beside, stamped = proof.license(gateway), shown.license(gateway)
    if stamped is None:
        return None if beside is not None and beside.bound_to is not None else beside
    if secret and (beside is None or beside.id != stamped.id):
        return None
    return stamped


async def _readers(gateway: Gateway, model: ModelRecord, asked: Loaded) -> AsyncIterator[Loaded]:
    """The version asked, and others of the model that have numbers for such images: a new version voids no license,
    however it scales them.
    """
    if asked.stamp is not None:
        yield asked
    for version_id in sorted(gateway.book.stamped.get(model.id, set()) - {asked.version.id}):
        version = gateway.book.versions.get(version_id)
        if version is None:  # not known here yet
            continue
        try:
            teacher = await gateway.engine.load(version)
        except Conflict:  # one that is damaged hides none
            continue
        own, spec = teacher.input_spec, asked.input_spec
        if teacher.stamp is not None and (own.shape, own.mode) == (spec.shape, spec.mode):
            yield teacher
