"""The report: words first, then every figure; it loads nothing, and what others chose is only text in it."""

import json
import math
import re
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from service.catalogue.artefacts import Artefact
from service.ownership import report
from service.ownership.picture import draw, draw_order
from tests.service.asking import on_sqlite
from tests.service.conftest import NOW
from tests.service.ownership.conftest import Registered
from tests.service.ownership.owner import DIGITS, MARKS, Committed, open_mark
from tests.service.ownership.test_evidence import written


class _Page(HTMLParser):
    """Tags in the order they come, whatever could load or run something, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loading: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "rect"):
            self.open.append(tag)
        names = {name for name, _ in attrs}
        if tag in ("script", "link", "iframe", "img", "object", "base") or names & {"src", "href"}:
            self.loading.append(tag)
        self.loading += [name for name in names if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += f"{data} "


@pytest.fixture(scope="module")
def verified(version: Committed) -> bytes:
    return written(version, version.weights)


def test_the_verdict_comes_first_in_words_then_the_figures(verified: bytes) -> None:
    page, evidence = _Page(report.render(verified)), json.loads(verified)
    words = " ".join(page.words.split())
    assert page.open == []
    assert words.startswith("Verified: digits/1 Verified The suspect was made from digits/1,")
    assert words.index(f"{DIGITS} of {DIGITS}") < words.index("The figures") < words.index("What was done")
    for step in evidence["steps"]:
        assert re.split(r"10\^|2\^", step)[0].strip() in words
    assert "10^" not in words, "powers are raised"
    for text in (evidence["suspect_sha256"], evidence["commitment"]["id"], evidence["mark_key"], "issuer.pub"):
        assert text in words


@pytest.mark.parametrize("mark", range(MARKS))
def test_one_that_is_not_verified_does_not_say_that_it_is(mark: int, version: Committed, artefact: Artefact) -> None:
    """Whichever of the two statistics happens to be the smaller."""
    words = " ".join(_Page(report.render(written(version, artefact.weights, mark))).words.split())
    assert words.startswith("Not verified: digits/1 Not verified It was not shown")
    assert "does not show the contrary" in words
    assert "in the order of its weights" not in words


@pytest.mark.parametrize("strong", [True, False])
def test_a_verdict_that_rests_on_the_owners_date_says_so(strong: bool, version: Committed) -> None:
    tensors = load(version.weights)
    if not strong:
        tensors["conv2.weight"] += 3 / version.commitment.parameters.digit_map.a  # other digits, in their order
    page = report.render(written(version, save(tensors), known_since=NOW + timedelta(days=1)))
    words = " ".join(_Page(page).words.split())
    assert words.startswith("Verified")
    assert ("if it was not there before, which the owner says" in words) is not strong
    assert ("not there before 2027-01-16 12:00:00 UTC" in words) is not strong
    assert ("without which the verdict would be the same" in words) is strong
    assert ("in the order of its weights" in words) is not strong


def test_a_mark_that_others_saw_is_said_to_be_one(version: Committed, verified: bytes) -> None:
    assert "shown for other suspects" not in report.render(verified)
    seen = report.render(written(version, version.weights, openings=4))
    assert "its key was shown for other suspects, 4 in all" in seen
    assert "for other suspects before, 4 in all" in seen


def test_it_says_whether_an_examiner_can_read_the_digits_himself(verified: bytes) -> None:
    assert "reads digits and ranks, and how often" in report.render(verified)
    realigned = json.dumps(json.loads(verified) | {"reading": "reordered"}).encode()
    assert "cannot read the digits here, because the suspect was re-aligned" in report.render(realigned)


def test_it_loads_nothing_and_runs_nothing(verified: bytes) -> None:
    text = report.render(verified)
    assert _Page(text).loading == []
    assert not re.findall(r"https?://|@import|url\((?!#)", text)


def test_what_others_chose_is_text(verified: bytes) -> None:
    evil = "<script>alert(1)</script>$layer&"
    content = json.loads(verified)
    content["commitment"]["statement"]["parameters"] |= {"layer": evil, "model": evil}
    content |= {"alignment_error": evil, "steps": [evil]}
    page = _Page(report.render(json.dumps(content).encode()))
    assert page.loading == []
    assert page.words.count(evil) == 4


@on_sqlite
async def test_the_route_gives_it_with_a_policy_that_forbids_the_rest(
    admin: httpx.AsyncClient, commitment: Registered
) -> None:
    done = await open_mark(admin, commitment.id, commitment.version.key(), commitment.version.weights)
    page = await admin.get(f"/v1/ownership/verifications/{done.json()['id']}/report")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.text == report.render(done.json()["evidence"].encode())


class TestPicture:
    @pytest.mark.parametrize(
        ("shape", "position", "place"),
        [
            ((16, 6, 5, 5), 0, (0, 0)),
            ((16, 6, 5, 5), 7, (2, 1)),  # the second row of the first kernel
            ((16, 6, 5, 5), 25, (0, 6)),  # the next input lies below
            ((16, 6, 5, 5), 150, (6, 0)),  # the next output beside
            ((6, 16, 5, 5), 25, (6, 0)),  # the longer side lies across
            ((10, 4), 5, (2, 2)),
            ((4, 3, 7), 8, (1, 2)),
            ((2, 2, 2, 3, 4), 13, (1, 3)),
        ],
    )
    def test_a_cell_lies_where_its_weight_is(
        self, shape: tuple[int, ...], position: int, place: tuple[int, int]
    ) -> None:
        picture = ElementTree.fromstring(draw(shape, [position], [3], [3]))  # noqa: S314 - our own
        (cell,) = [rect for rect in picture.iter("rect") if rect.get("class") == "match"]
        assert (float(cell.get("x", "")), float(cell.get("y", ""))) == place

    def test_matches_others_and_none_are_told_apart(self) -> None:
        picture = draw((16, 6, 5, 5), [0, 1, 2], [3, 3, 3], [3, 4, -1])
        assert [picture.count(f'class="{kind}"') for kind in ("match", "other", "none")] == [1, 1, 1]
        assert "expected 3, found none" in picture

    @given(shape=st.lists(st.integers(1, 70), min_size=2, max_size=5), seed=st.integers(0, 2**32))
    def test_every_cell_lies_within_the_picture_whatever_the_shape(self, shape: list[int], seed: int) -> None:
        positions = [(seed * k) % math.prod(shape) for k in range(5)]
        picture = ElementTree.fromstring(draw(shape, positions, [3] * 5, [3, 4, -1, 3, 3]))  # noqa: S314 - our own
        left, top, width, height = map(float, picture.get("viewBox", "").split())
        cells = [rect for rect in picture.iter("rect") if rect.get("class") in ("match", "other", "none")]
        assert len(cells) == 5
        for cell in cells:
            x, y, size = (float(cell.get(name, "")) for name in ("x", "y", "width"))
            assert x + size >= left, "some of it can be seen"
            assert y + size >= top
            assert x <= left + width
            assert y <= top + height

    def test_the_cells_of_a_large_layer_can_still_be_seen(self) -> None:
        picture = ElementTree.fromstring(draw((512, 512, 3, 3), [0], [1], [1]))  # noqa: S314
        (cell,) = [rect for rect in picture.iter("rect") if rect.get("class") == "match"]
        assert float(cell.get("width", "")) > 10


class TestOrder:
    def test_a_digit_s_weights_stand_where_they_do_in_the_layer(self) -> None:
        picture = ElementTree.fromstring(draw_order([0, 0, 0, 9, 9, 9], [-90, -80, -70, 70, 80, 90], 100))  # noqa: S314
        low, high = (float(line.get("y1", "")) for line in picture.iter("line") if line.get("class") == "median")
        assert (low, high) == (45.0, 5.0)  # a tenth from below, a tenth from above
        assert len(list(picture.iter("rect"))) == 2, "the other digits have no weights"
