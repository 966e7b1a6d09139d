"""Over HTTP: forgeries of every kind, fingerprints in wrong hands, and tricks with the container."""

import io
from collections.abc import Callable, Sequence

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.asking import ask, http, npy, open_session
from benchmarks.gateway import Issued
from benchmarks.progress import Steps
from benchmarks.rows import Row
from benchmarks.thread.budgets import Budget
from benchmarks.thread.field import Field, Grid, field, issue_all, pixels, revoke_all
from benchmarks.thread.forgery import forgers, row
from benchmarks.thread.trained import MODEL, mnist

SHOWN = ("forged_shown",)
OVER_HTTP = ("forged_http",)
_OTHER = "mnist-elsewhere"  # the same network under another name: its fingerprints get the very same answers here


def shown(budget: Budget, steps: Steps) -> list[Row]:
    """Genuine fingerprints of others, of revoked licenses and of another version; genuine ones in odd containers."""
    with field(budget, (MODEL, _OTHER)) as play, http(play.gateway.url) as caller, play.gateway.admin() as admin:
        elsewhere = issue_all(admin, play.gateway, _OTHER)
        kinds = {"others": _shown_by_others(caller, play.live), "other_version": [0, 0]}
        for license in elsewhere:
            session = open_session(caller, MODEL, license.png)
            proved = any(session.proves(one) for one in [*play.live, license])
            kinds["other_version"] = _add(kinds["other_version"], proved)
        for name, spell in steps.over(list(_TRICKS.items()), "containers"):
            accepted = [open_session(caller, MODEL, spell(pixels(one.png))).proves(one) for one in play.live]
            kinds[name] = [sum(accepted), len(accepted)]
        revoke_all(admin, play.live)
        sessions = [open_session(caller, MODEL, license.png) for license in play.live]
        told = sum(session.status == 403 and session.document["code"] == "REVOKED" for session in sessions)
        kinds["revoked"] = [len(sessions) - told, len(sessions)]  # anything but the plain refusal counts
    what = (
        "fingerprints of others, of revoked licenses, of the same network elsewhere, and in odd containers, over HTTP"
    )
    counted = {name: {"shown": number, "accepted": accepted} for name, (accepted, number) in kinds.items()}
    return [row("forged_shown", what, counted)]


def _shown_by_others(caller: httpx.Client, live: Sequence[Issued]) -> list[int]:
    """A customer's fingerprint proves his license and nobody else's."""
    sessions = [open_session(caller, MODEL, license.png) for license in live]
    crossed = [s.proves(one) for i, s in enumerate(sessions) for j, one in enumerate(live) if i != j]
    assert all(session.proves(license) for session, license in zip(sessions, live, strict=True))
    return [sum(crossed), len(crossed)]


def _add(counts: list[int], accepted: bool) -> list[int]:
    return [counts[0] + accepted, counts[1] + 1]


def over_http(budget: Budget, steps: Steps) -> list[Row]:
    """Each forgery's session is held against all receipt keys, and what its token buys against the truth."""
    rng = np.random.default_rng(6)
    images = mnist().test.images
    with field(budget) as play, http(play.gateway.url) as caller:
        key = play.gateway.issue(MODEL, "key").key
        truth = ask(caller, MODEL, images[:100], bearer=key).scores
        kinds = {}
        makers = forgers(play, rng)
        for name, make in makers.items():
            forged = make(budget.forged_http // len(makers))
            counts = [0, 0]
            for turn in steps.over(range(len(forged)), f"over HTTP: {name}"):
                picture = turn % len(truth)
                counts = _add(counts, _takes_in(play, caller, forged[turn], images[picture][None], truth[picture]))
            unbound = {f"unbound_{epsilon}": taken for epsilon, taken in play.eyes.unbound(forged).items()}
            kinds[name] = {"shown": counts[1], "accepted": counts[0], **unbound}
    what = "forged fingerprints of all kinds over HTTP, their receipts and the answers they buy"
    return [row("forged_http", what, kinds)]


def _takes_in(
    play: Field, caller: httpx.Client, forged: Grid, image: Grid, truth: NDArray[np.float64]
) -> bool:  # fmt: skip
    session = open_session(caller, MODEL, npy(forged))
    assert session.status == 201, session.document
    answer = ask(caller, MODEL, image, bearer=session.document["token"])
    return any(session.proves(license) for license in play.live) or bool((answer.scores[0] == truth).all())


def _png(picture: Grid, mode: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, "PNG", **options)
    return file.getvalue()


def _sixteen_bit(picture: Grid) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture.astype(np.uint16) * 257).save(file, "PNG")
    return file.getvalue()


def _turned_by_exif(picture: Grid) -> bytes:
    """The pixels turned one way and the orientation the other: what a viewer shows is the fingerprint."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _png(np.ascontiguousarray(np.rot90(picture)), "L", exif=exif)


def _exif_orientation(picture: Grid) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 3
    return _png(picture, "L", exif=exif)


def _levels(picture: Grid, shift: float = 0.0) -> NDArray[np.float32]:
    return ((picture + np.float32(shift)) / np.float32(255)).astype(np.float32)


_TRICKS: dict[str, Callable[[Grid], bytes | list[object]]] = {
    "alpha": lambda picture: _png(picture, "LA"),
    "rgba": lambda picture: _png(picture, "RGBA"),
    "rgb": lambda picture: _png(picture, "RGB"),
    "palette": lambda picture: _png(picture, "P"),
    "transparent_grey": lambda picture: _png(picture, "L", transparency=0),
    "16_bit": _sixteen_bit,
    "exif_orientation": _exif_orientation,
    "turned_by_exif": _turned_by_exif,
    "npy_fortran": lambda picture: npy(np.asfortranarray(picture)),
    "npy_transposed": lambda picture: npy(np.ascontiguousarray(picture.T)),
    "npy_big_endian": lambda picture: npy(_levels(picture).astype(">f4")),
    "npy_half_up": lambda picture: npy(_levels(picture, 0.5).clip(0, 1)),
    "npy_half_down": lambda picture: npy(_levels(picture, -0.5).clip(0, 1)),
    "json_half_up": lambda picture: _levels(picture, 0.5).clip(0, 1).tolist(),
    "json_half_down": lambda picture: _levels(picture, -0.5).clip(0, 1).tolist(),
}
