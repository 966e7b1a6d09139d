"""Evidence: checked by a script of its own against the issuer's public keys; whatever is changed in it is found."""

import ast
import base64
import json
import math
import string
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save
from signet_client import evidence as checker
from signet_client.canonical import to_base64url, to_json
from signet_client.evidence import EVIDENCE, REGISTRATION, STATEMENT, check, signed_bytes

from models.evaluation.ownership import LOG10_TRIES, verify
from models.evaluation.poisson_binomial import log10_tail
from models.watermarks.registered import mark_key
from service.catalogue.artefacts import Artefact
from service.keyring import KeyRing, public_key_document
from service.ownership import evidence
from service.ownership.tables import OwnershipCommitment
from tests.service.conftest import NOW
from tests.service.ownership.owner import MARKS, SECRET, Committed

SCRIPT = Path(checker.__file__)
RING = KeyRing.generate()
ISSUER = json.dumps(public_key_document(RING.public_keys())).encode()


def written(
    version: Committed, suspect: bytes, mark: int = 0, known_since: datetime | None = None, openings: int = 0
) -> bytes:
    """Evidence as the registry writes it."""
    statement = version.commitment.to_bytes()
    row = OwnershipCommitment(
        id="com_1",
        statement=statement,
        public_key=version.public_key,
        signature=version.body()["signature"],
        receipt=evidence.receipt(RING, "com_1", statement, version.public_key, NOW),
    )
    key = mark_key(SECRET, version.commitment.parameters, mark)
    tries = 0.0 if evidence.appeared_later(row, known_since) else LOG10_TRIES
    found = verify(suspect, version.commitment, mark, key, version.weights, registered=2, log10_tries=tries)
    facts = evidence.Facts("vfy_1", key, 2, openings, known_since, max(NOW, known_since or NOW))
    return evidence.write(RING, row, version.commitment.parameters, found, facts)


@pytest.fixture(scope="module")
def verified(version: Committed) -> bytes:
    return written(version, version.weights)


@pytest.fixture(scope="module")
def not_verified(version: Committed, artefact: Artefact) -> bytes:
    return written(version, artefact.weights, MARKS - 1)


def holds(document: bytes, issuer: bytes = ISSUER) -> list[str]:
    """Everything that holds; fails at what does not."""
    steps = []
    for good, what in check(document, issuer):
        assert good, what
        steps.append(what)
    return steps


def failing(document: bytes, issuer: bytes = ISSUER) -> str:
    """The first step that does not hold, or the exception's name."""
    try:
        for good, what in check(document, issuer):
            if not good:
                return what
    except Exception as error:
        return type(error).__name__
    raise AssertionError("the evidence is valid")


def resigned(document: bytes, change: Callable[[dict[str, Any]], object], signer: Any = RING.issuer) -> bytes:
    """What an issuer could have signed instead, so that the later steps are reached."""
    content = json.loads(document)
    change(content)
    return to_json({**content, "signature": to_base64url(signer.sign(signed_bytes(EVIDENCE, content["kid"], content)))})


class TestWhatHolds:
    def test_evidence_of_both_verdicts(self, verified: bytes, not_verified: bytes) -> None:
        steps = holds(verified)
        assert len(steps) == 10
        assert steps[-1].endswith(": verified")
        assert holds(not_verified)[-1].endswith(": not verified")

    @pytest.mark.parametrize(("seconds", "paid"), [(None, True), (-1, True), (0, True), (1, False)])
    def test_what_may_have_been_tried_is_paid_for_unless_the_suspect_appeared_later(
        self, seconds: int | None, paid: bool, version: Committed
    ) -> None:
        since = None if seconds is None else NOW + timedelta(seconds=seconds)
        document = written(version, version.weights, known_since=since)
        tries = json.loads(document)["adjustments"]["log10_tries"]
        assert tries == pytest.approx(112 * math.log10(2) if paid else 0)
        told = holds(document)[-2]
        assert ("2^112" in told, "CHECK" in told) == (paid, not paid)
        said = " ".join(json.loads(document)["steps"])
        assert ("2^112 such tries" in said, "has to check that date" in said) == (paid, not paid)

    def test_digits_that_are_all_off_and_in_order(self, version: Committed) -> None:
        tensors = load(version.weights)
        tensors["conv2.weight"] += 3 / version.commitment.parameters.digit_map.a
        document = written(version, save(tensors), known_since=NOW + timedelta(days=1))
        content = json.loads(document)
        assert content["log10_p_ranks"] < -9 < content["log10_p_digits"]
        assert holds(document)[-1].endswith(": verified")

    def test_after_the_issuers_key_was_rotated(self, verified: bytes) -> None:
        keys = public_key_document(RING.rotated().public_keys())
        assert holds(verified, issuer=json.dumps(keys).encode())


class TestWhatDoesNot:
    @given(data=st.data())
    def test_a_byte_that_was_changed(self, data: st.DataObject, verified: bytes) -> None:
        at = data.draw(st.integers(0, len(verified) - 1))
        other = data.draw(st.integers(0, 255).filter(lambda byte: byte != verified[at]))
        failing(verified[:at] + bytes([other]) + verified[at + 1 :])

    def test_a_second_spelling_of_the_signature(self, verified: bytes) -> None:
        last = verified.index(b'"signature":"', verified.rindex(b'"reference_sha256"')) + len('"signature":"') + 85
        assert verified[last + 1 :].startswith(b'","steps"')
        for other in (string.ascii_letters + string.digits + "-_").encode():
            if other != verified[last]:  # four of its six bits are not used
                failing(verified[:last] + bytes([other]) + verified[last + 1 :])

    def test_bytes_that_were_added_or_are_missing(self, verified: bytes) -> None:
        for document in (verified + b"\n", b" " + verified, verified[:-1], b"", b"{}", b"null", b"[" * 100_000):
            failing(document)
        failing(json.dumps(json.loads(verified)).encode())

    def test_another_issuers(self, verified: bytes) -> None:
        other = json.dumps(public_key_document(KeyRing.generate().public_keys())).encode()
        assert "the issuer signed it" in failing(verified, issuer=other)
        forged = resigned(verified, lambda content: None, Ed25519PrivateKey.generate())
        assert "the issuer signed it" in failing(forged)

    @pytest.mark.parametrize(
        ("change", "step"),
        [
            (lambda e: e.update(created_at="2027-01-15T11:59:59Z"), "registered"),
            (lambda e: e["commitment"].update(id="com_2"), "registered"),
            (lambda e: e["commitment"]["receipt"].update(registered_at="2026-01-15T12:00:00Z"), "registered"),
            (lambda e: e["commitment"]["statement"].update(reference_sha256="0" * 64), "registered"),
            (lambda e: e["commitment"].update(signature="A" * 86), "owner signed"),
            (lambda e: e.update(mark=1), "opened key"),
            (lambda e: e.update(mark=-1), "KeyError"),
            (lambda e: e.update(mark_key=to_base64url(b"x" * 32)), "opened key"),
            (lambda e: e["positions"].reverse(), "positions and digits follow"),
            (lambda e: e["expected"].__setitem__(0, 9 - e["expected"][0]), "positions and digits follow"),
            (lambda e: e["extracted"].__setitem__(0, -1), "digits are the expected"),
            (lambda e: e["ranks"].__setitem__(0, -9_999), "ranks follow"),
            (lambda e: e["ranks"].pop(), "ValueError"),
            (lambda e: e["ranks"].__setitem__(0, 1.5e-162), "TypeError"),
            (lambda e: e["extracted"].pop(), "ValueError"),
            (lambda e: e.update(matches=e["matches"] - 1), "digits are the expected"),
            (lambda e: e["probabilities"].__setitem__(0, 0.09), "by chance"),
            (lambda e: e["probabilities"].__setitem__(0, 0.999), "by chance"),
            (lambda e: e["probabilities"].__setitem__(0, 1.5), "by chance"),
            (lambda e: e.update(log10_p_digits=e["log10_p_digits"] - 1), "by chance"),
            (lambda e: e.update(log10_p_ranks=e["log10_p_ranks"] - 1), "ranks follow"),
            (lambda e: e.update(reference_sha256="0" * 64), "opened key"),
            (lambda e: e.update(log10_threshold=-3.0), "verdict"),
            (lambda e: e["adjustments"].update(marks=77), "all paid"),
            (lambda e: e["adjustments"].update(readings=1), "all paid"),
            (lambda e: e["adjustments"].update(log10_tries=0.0), "all paid"),
            (lambda e: e.update(suspect_known_since="2027-01-15T12:00:01Z"), "all paid"),
            (lambda e: e.update(suspect_known_since=1), "TypeError"),
            (lambda e: e["adjustments"].update(commitments=1.5), "all paid"),
            (lambda e: e["adjustments"].update(commitments=1), "all paid"),
            (lambda e: e["adjustments"].update(commitments=0), "ValueError"),
            (lambda e: e["adjustments"].update(log10_alignments=-50.0), "all paid"),
            (lambda e: e.update(log10_adjusted_p=e["log10_adjusted_p"] - 1), "all paid"),
            (lambda e: e.update(verdict="not verified"), "verdict"),
            (lambda e: e.update(format="signet-evidence/1"), "form"),
        ],
    )
    def test_even_an_issuer_cannot_say_otherwise(
        self, change: Callable[[dict[str, Any]], object], step: str, verified: bytes
    ) -> None:
        assert step in failing(resigned(verified, change))

    def test_a_verdict_that_the_numbers_do_not_bear(self, not_verified: bytes) -> None:
        assert "verdict" in failing(resigned(not_verified, lambda e: e.update(verdict="verified")))

    @pytest.mark.parametrize("account", ["a tenth for each digit", "the null model's"])
    def test_chances_below_either_account_though_all_else_agrees(self, account: str, not_verified: bytes) -> None:
        def belittle(e: dict[str, Any]) -> None:
            null = e["commitment"]["statement"]["parameters"]["null_frequencies"]
            tenths = account == "a tenth for each digit"
            e["probabilities"] = [0.1 if tenths else null[digit] for digit in e["expected"]]
            e["log10_p_digits"] = float(log10_tail(e["probabilities"], e["matches"]))
            paid = e["adjustments"]
            tests = paid["readings"] * paid["marks"] * paid["commitments"]
            e["log10_adjusted_p"] = min(
                0.0,
                min(e["log10_p_digits"], e["log10_p_ranks"])
                + paid["log10_alignments"]
                + paid["log10_tries"]
                + math.log10(tests),
            )

        assert "by chance" in failing(resigned(not_verified, belittle))

    def test_a_statement_that_its_owner_did_not_sign(self, verified: bytes) -> None:
        def impostor(e: dict[str, Any]) -> None:
            statement, public_key = to_json(e["commitment"]["statement"]), to_base64url(b"\x07" * 32)
            e["commitment"]["public_key"] = public_key
            e["commitment"]["receipt"] = evidence.receipt(RING, "com_1", statement, public_key, NOW)

        assert "the owner signed" in failing(resigned(verified, impostor))

    def test_a_statement_that_names_another_owner(self, verified: bytes) -> None:
        thief = Ed25519PrivateKey.generate()

        def his(e: dict[str, Any]) -> None:
            statement, public_key = e["commitment"]["statement"], to_base64url(thief.public_key().public_bytes_raw())
            signature = to_base64url(thief.sign(signed_bytes(STATEMENT, public_key, statement)))
            receipt = evidence.receipt(RING, "com_1", to_json(statement), public_key, NOW)
            e["commitment"] |= {"public_key": public_key, "signature": signature, "receipt": receipt}

        assert "the owner signed" in failing(resigned(verified, his))

    def test_one_purposes_signature_is_none_for_another(self, version: Committed) -> None:
        content = {"kid": "k", "a": 1}
        assert len({signed_bytes(purpose, "k", content) for purpose in (EVIDENCE, REGISTRATION, STATEMENT)}) == 3


class TestScript:
    def run(self, *files: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    def test_it_runs_by_itself_and_its_exit_code_says_it_all(
        self, tmp_path: Path, verified: bytes, not_verified: bytes
    ) -> None:
        script = tmp_path / "evidence.py"
        script.write_bytes(SCRIPT.read_bytes())
        for name, content in {
            "yes.json": verified,
            "no.json": not_verified,
            "forged.json": verified.replace(b'"mark":0', b'"mark":1'),
            "rubbish.json": b"\xff",
            "issuer.pub": ISSUER,
        }.items():
            (tmp_path / name).write_bytes(content)
        issuer = tmp_path / "issuer.pub"
        good = self.run(script, tmp_path / "yes.json", issuer)
        assert (good.returncode, good.stderr) == (0, "")
        assert good.stdout.count("\n") == 10
        assert self.run(script, tmp_path / "no.json", issuer).returncode == 1
        for line in (("forged.json", issuer), ("rubbish.json", issuer), ("missing.json", issuer), ("yes.json",)):
            files = [tmp_path / line[0], *line[1:]]
            assert self.run(script, *files).returncode == 2, line
        forged = self.run(script, tmp_path / "forged.json", issuer)
        assert "(2) DOES NOT HOLD" in forged.stdout

    def test_it_needs_nothing_of_ours_and_is_read_in_one_sitting(self) -> None:
        text = SCRIPT.read_text()
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]  # type: ignore[union-attr]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert imported <= {*sys.stdlib_module_names, "cryptography"}
        assert len(text.splitlines()) <= 100

    def test_the_key_in_it_is_32_bytes(self, verified: bytes) -> None:
        assert len(base64.urlsafe_b64decode(json.loads(verified)["mark_key"] + "=")) == 32
