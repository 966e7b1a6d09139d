"""Which answers a license's fingerprints are to get."""

import asyncio
from collections import OrderedDict

from models.fingerprints.activeguard.scheme import Answers
from service.inference.loaded import Loaded
from service.keyring import KeyRing

Slots = tuple[int, ...]
_KEPT = 4096


class Allotted:
    """What gatekeepers have to say to licenses' fingerprints: of codewords only the slots are written down.

    The answers asked for last are kept, since a codeword of many classes takes long to derive.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._kept: OrderedDict[tuple[str, str, str, Slots], Answers] = OrderedDict()

    async def answers(self, gatekeeper: Loaded, license_id: str, root: str, slots: Slots) -> Answers:
        """One a slot; `root` is what the license's receipt key hangs on."""
        key = (gatekeeper.version.id, license_id, root, slots)
        answers = self._kept.get(key)
        if answers is None:
            secret = self._ring.derive("codeword", gatekeeper.version.digest, root=root)
            answers = await asyncio.to_thread(gatekeeper.fingerprints.answers, secret, license_id, slots)
            self._kept[key] = answers
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return answers
