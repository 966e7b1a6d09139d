"""Evidence for reading: one HTML page without a script, and with nothing from anybody's server.

Verdict first, then the figures, the picture, the digits, what was done, and how to check it.
"""

import json
import math
import re
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from models.evaluation.ownership import LOG10_TRIES
from models.evaluation.rank_correlation import rank_correlation
from service.ownership.picture import draw, draw_order, outcome
from service.ownership.tables import Verdict

_AS_IT_STANDS = (
    "reads digits and ranks, and how often digits are found there, from the suspect’s file. With both nothing is taken "
    "from the issuer but the time and the number of registered commitments."
)
_REALIGNED = (
    "cannot read the digits here, because the suspect was re-aligned: which digits and ranks were found, how often, "
    "and how many ways there are to re-align are the issuer’s word, beside the time and the number of registered "
    "commitments. Who has the marked network’s file as well can have them read anew."
)
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
EVIDENCE_ANSWER: dict[str, Any] = {
    "description": "canonical JSON, signed",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
REPORT_ANSWER: dict[str, Any] = {
    "description": "a page by itself",
    "content": {"text/html": {"schema": {"type": "string"}}},
}


def render(evidence: bytes) -> str:
    """The page about an evidence document of ours."""
    e = json.loads(evidence)
    terms = e["commitment"]["statement"]["parameters"]
    verified = e["verdict"] == Verdict.VERIFIED
    page = Template((files("service.ownership") / "report.html").read_text(encoding="utf-8"))
    return page.substitute(
        style=style(),
        tone="found" if verified else "",
        verdict="Verified" if verified else "Not verified",
        model=escape(terms["model"]),
        sentence=_sentence(e, terms, verified=verified),
        figures=rows(_figures(e, terms)),
        readings=_readings(e),
        picture=draw(terms["shape"], e["positions"], e["expected"], e["extracted"]),
        order=draw_order(e["expected"], e["ranks"], math.prod(terms["shape"])),
        layer=escape(terms["layer"]),
        shape=" × ".join(map(str, terms["shape"])),
        digits=_digits(e["expected"], e["extracted"]),
        count=terms["digits"],
        steps="".join(f"<li>{raised(escape(step))}</li>" for step in e["steps"]),
        open="".join(f"<li>{point}</li>" for point in _open(e)),
        reading=_AS_IT_STANDS if e["reading"] == "as it stands" else _REALIGNED,
        documents=rows(_documents(e)),
        id=escape(e["id"]),
        kid=escape(e["kid"]),
        created_at=escape(e["created_at"]),
        registered_at=moment(e["commitment"]["receipt"]["registered_at"]),
    )


def style() -> str:
    """What the pages of evidence have in common, in CSS; each holds it, since a page stands by itself."""
    return (files("service.ownership") / "report.css").read_text(encoding="utf-8")


def _sentence(e: dict[str, Any], terms: dict[str, Any], *, verified: bool) -> str:
    n, matches, model = terms["digits"], e["matches"], escape(terms["model"])
    by_chance = power(e["log10_adjusted_p"])
    found = f"{matches} of {n} digits of mark {e['mark']}"
    if verified:
        if e["log10_p_ranks"] < e["log10_p_digits"]:
            found = f"the digits of mark {e['mark']} in the order of its weights"
        younger = ", if it was not there before, which the owner says" if _rests_on_the_date(e) else ""
        since = e["commitment"]["receipt"]["registered_at"]
        return (
            f"The suspect was made from {model}, as far as chance can be excluded: it bears {found} that the owner had "
            f"committed to on {moment(since)}{younger}. In a network that was not made from it that would be found "
            f"with a probability of at most {by_chance}, after every choice there was is paid for."
        )
    return (
        f"It was not shown that the suspect was made from {model}: it shows {found}, and after every choice there was "
        f"is paid for, chance alone accounts for that with a probability of up to {by_chance}. That does not show "
        f"the contrary either."
    )


def _rests_on_the_date(e: dict[str, Any]) -> bool:
    """Verified only if no tries are paid for, since the suspect is said to be younger than the registration."""
    if e["adjustments"]["log10_tries"] or e["verdict"] != Verdict.VERIFIED:
        return False
    return bool(e["log10_adjusted_p"] + LOG10_TRIES > e["log10_threshold"])


def _open(e: dict[str, Any]) -> Iterable[str]:
    """What no signature settles."""
    yield (
        f"That the file with the SHA-256 <code>{escape(e['suspect_sha256'][:16])}…</code> is what the accused uses or "
        f"gives away, and not something that was made of it."
    )
    registered_at = moment(e["commitment"]["receipt"]["registered_at"])
    if _rests_on_the_date(e):
        yield (
            f"That the suspect was <strong>not there before {moment(e['suspect_known_since'])}</strong>. The owner "
            f"says so, and the verdict rests on it: on a network that was there before {registered_at} marks could "
            f"have been tried until one fitted."
        )
    yield f"That the commitment was registered on {registered_at}: the issuer’s word, unless others time-stamped it."
    if e["mark_opened_before"]:
        yield (
            f"That nobody who saw mark {e['mark']} opened before wrote it into the suspect, or into what the suspect "
            f"was made of: its key was shown for other suspects, {e['mark_opened_before']} in all."
        )
    yield (
        "That nobody committed to the same network before: a thief can write marks of his own into what he stole, "
        "and commit to them, but only later."
    )


def _figures(e: dict[str, Any], terms: dict[str, Any]) -> Iterable[tuple[str, str]]:
    paid = e["adjustments"]
    yield "digits that match", f"{e['matches']} of {terms['digits']}, p-value {power(e['log10_p_digits'])}"
    correlation = rank_correlation(e["ranks"], e["expected"])
    yield "rank correlation of weights and digits", f"{correlation:.2f}, p-value {power(e['log10_p_ranks'])}"
    yield "the smaller of the two", power(min(e["log10_p_digits"], e["log10_p_ranks"]))
    yield "ways to read a suspect and to count", f"× {paid['readings']}"
    yield "ways to re-align it", f"× {power(paid['log10_alignments'])}"
    yield "marks of this commitment", f"× {paid['marks']}"
    yield "registered commitments", f"× {paid['commitments']}"
    tries = paid["log10_tries"]
    yield "tries before the registration", f"× {power(tries)}" if tries else "none: the suspect is said to be younger"
    yield "adjusted p-value", f"<strong>{power(e['log10_adjusted_p'])}</strong>"
    yield "threshold", power(e["log10_threshold"])


def _documents(e: dict[str, Any]) -> Iterable[tuple[str, str]]:
    commitment = e["commitment"]
    yield "suspect, SHA-256", f"<code>{escape(e['suspect_sha256'])}</code>"
    yield "marked network, SHA-256", f"<code>{escape(e['reference_sha256'])}</code>"
    yield "commitment", f"<code>{escape(commitment['id'])}</code>"
    yield "registered", moment(commitment["receipt"]["registered_at"])
    yield "owner’s public key", f"<code>{escape(commitment['public_key'])}</code>"
    yield "opened mark", f"{e['mark']}, key <code>{escape(e['mark_key'])}</code>"
    yield "evidence", f"<code>{escape(e['id'])}</code>, {moment(e['created_at'])}"
    yield "signed by", f"<code>{escape(e['kid'])}</code>"


def rows(pairs: Iterable[tuple[str, str]]) -> str:
    """Of a table: what, and how much."""
    return "".join(f"<tr><th scope=row>{name}</th><td>{value}</td></tr>" for name, value in pairs)


def _readings(e: dict[str, Any]) -> str:
    """The best one in bold."""
    rows = []
    for reading in e["readings"]:
        tag = "strong" if reading["way"] == e["reading"] else "span"
        counts = str(reading["matches"]), power(reading["log10_p_digits"]), power(reading["log10_p_ranks"])
        cells = (escape(reading["way"]), *counts, power(reading["log10_adjusted_p"]))
        rows.append("<tr>" + "".join(f"<td><{tag}>{cell}</{tag}></td>" for cell in cells) + "</tr>")
    return "".join(rows)


def _digits(expected: Iterable[int], extracted: Iterable[int]) -> str:
    pairs = [(wanted, found, outcome(wanted, found)) for wanted, found in zip(expected, extracted, strict=True)]
    return "".join(
        f'<span class="{kind}"><b>{wanted}</b><i>{"–" if kind == "none" else found}</i></span>'
        for wanted, found, kind in pairs
    )


def moment(text: str) -> str:
    """A moment in UTC as one reads it."""
    return f"<time datetime='{escape(text)}'>{escape(text.replace('T', ' ').replace('Z', ' UTC'))}</time>"


def raised(text: str) -> str:
    """10^-9 and 2^112 as they are written by hand."""
    return re.sub(r"\b(10|2)\^(-?)(\d+(?:\.\d+)?)", lambda m: f"{m[1]}<sup>{m[2].replace('-', '−')}{m[3]}</sup>", text)


def power(log10: float) -> str:
    """A probability or a factor as one reads it."""
    if abs(log10) < 3:
        return f"{10**log10:.3g}"
    return f"10<sup>{f'{log10:.1f}'.removesuffix('.0')}</sup>".replace("-", "−")
