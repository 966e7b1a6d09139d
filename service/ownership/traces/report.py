"""A trace's evidence for reading: one HTML page without a script, and with nothing from anybody's server."""

import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from service.ownership.report import moment, power, raised, rows, style
from service.ownership.traces.picture import draw
from service.ownership.traces.schemas import ProbeKind


def render(evidence: bytes) -> str:
    """The page about an evidence document of ours."""
    e = json.loads(evidence)
    named = [each for each in e["found"] if each["finding"] == "named"]
    page = Template((files("service.ownership.traces") / "report.html").read_text(encoding="utf-8"))
    return page.substitute(
        style=style(),
        tone="found" if named else "",
        verdict=f"Traced to {len(named)} customers" if len(named) > 1 else "Traced" if named else "Nobody is named",
        model=escape(e["model"]),
        sentence=_sentence(e, named),
        discloses=_discloses(e),
        found="".join(_row(each, e["probe"]["inputs"]) for each in e["found"]) or "<tr><td colspan=8>nobody</td></tr>",
        probes=e["probe"]["inputs"],
        draws=e["null"]["draws"],
        students=e["adjustments"]["students"],
        picture=draw(e["null"]["histogram"], e["registered"], [each["correct"] for each in named]),
        steps="".join(f"<li>{raised(escape(step))}</li>" for step in e["steps"]),
        documents=rows(_documents(e)),
        suspect=escape(e["suspect_sha256"][:16]),
        id=escape(e["id"]),
        kid=escape(e["kid"]),
        created_at=escape(e["created_at"]),
    )


def _who(each: dict[str, Any]) -> str:
    return escape(each["customer"]["name"]) if each["customer"] else "the student that customers share"


def _sentence(e: dict[str, Any], named: list[dict[str, Any]]) -> str:
    model, students = escape(e["model"]), e["adjustments"]["students"]
    if not named:
        pointed = sum(each["finding"] == "indicated" for each in e["found"])
        more = f" It points to {pointed}, at a level that accuses nobody." if pointed else ""
        return (
            f"The suspect was not shown to be made from any of the {students} students of {model}.{more} That does not "
            f"show the contrary either."
        )
    who = " and ".join(f"<strong>{_who(each)}</strong>" for each in named)
    worst = max(each["log10_adjusted_p"] for each in named)
    together = " Their students were put together." if len(named) > 1 else ""
    return (
        f"The suspect was made from a student of {model} that was made for {who}, as far as chance can be excluded."
        f"{together} If it was not, what was found has at most the probability {power(worst)}, after every choice is "
        f"paid for, that among {students} registered student{'' if students == 1 else 's'} too."
    )


def _discloses(e: dict[str, Any]) -> str:
    if not e["discloses"]:
        return ""
    whose = ", ".join(f"<code>{escape(each)}</code>" for each in e["discloses"])
    return (
        f'<p class="discloses"><strong>The evidence gives a serial number away</strong>, so that anybody can check '
        f"whose it is: that of {whose}. Who reads it can use that number, and find and remove the mark. Reissue or "
        f"revoke the license before the evidence leaves the house; nothing of that happens by itself.</p>"
    )


def _row(each: dict[str, Any], probes: int) -> str:
    mark, tag = each["mark"], "strong" if each["finding"] == "named" else "span"
    signs = f"{mark['agreeing']} of {mark['compared']} in <code>{escape(mark['tensor'])}</code>" if mark else "none"
    cells = (
        _who(each),
        f"<code>{escape(each['license'] or each['student'])}</code>",
        each["finding"],
        f"{each['correct']} of {probes}",
        power(each["log10_p_stamp"]),
        signs,
        power(each["log10_p_mark"]),
        power(each["log10_adjusted_p"]),
    )
    return "<tr>" + "".join(f"<td><{tag}>{cell}</{tag}></td>" for cell in cells) + "</tr>"


def _documents(e: dict[str, Any]) -> Iterable[tuple[str, str]]:
    chosen = "calibration inputs" if e["probe"]["kind"] == ProbeKind.CALIBRATION else "inputs that the owner gave"
    yield "suspect, SHA-256", f"<code>{escape(e['suspect_sha256'])}</code>"
    yield "model", f"{escape(e['model'])}, manifest <code>{escape(e['version_sha256'])}</code>"
    yield "labelled inputs", f"{e['probe']['inputs']} {chosen}, <code>{escape(e['probe']['sha256'])}</code>"
    yield "random numbers", f"{e['null']['draws']}, from <code>{escape(e['null']['seed'])}</code>"
    for each in e["found"]:
        opened = each["opened"]
        if opened:
            issued = moment(opened["statement"]["issued_at"])
            yield f"number of {_who(each)}", f"<code>{escape(opened['number'])}</code>, signed for on {issued}"
    yield "evidence", f"<code>{escape(e['id'])}</code>, {moment(e['created_at'])}"
    yield "signed by", f"<code>{escape(e['kid'])}</code>"
