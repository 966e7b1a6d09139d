"""`signet ownership trace` over a home of its own, a worker of the command's own, and a check of what it wrote."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.catalogue.artefacts import Artefact, write_folder
from tests.service.ownership.traces.conftest import small_teacher
from tests.service.signet import BARE, Signet

__all__ = ["small_teacher"]


@pytest.fixture
def signet(tmp_path: Path, new_database: Callable[[], str], small_teacher: Artefact) -> Signet:
    """An owner's machine with the digits model. Nobody serves there: whoever waits for a job has it done."""
    url = new_database()
    signet = Signet(tmp_path / "home", environment={**BARE, "SIGNET_DATABASE_URL": url})
    write_folder(tmp_path / "digits", small_teacher)
    signet.said("model", "add", tmp_path / "digits")
    return signet


def test_a_stolen_student_is_traced_and_anybody_can_check_it(signet: Signet, tmp_path: Path) -> None:
    customer = signet.json("customer", "add", "Acme Optics")["id"]
    wait = ("--credential", "serial_number", "--wait", "--out", tmp_path / "acme.lic")
    issued = signet.json("license", "issue", customer, "digits", *wait)
    suspect = tmp_path / "found.safetensors"
    suspect.write_bytes((signet.home / "students" / issued["student"]["id"] / "weights.safetensors").read_bytes())
    said = signet.said("ownership", "trace", suspect, "--model", "digits", "--draws", "500")
    assert "TRACED to Acme Optics" in said
    (evidence,) = tmp_path.glob("found-*.json")
    assert evidence.stat().st_mode & 0o077 == 0
    assert json.loads(evidence.read_bytes())["discloses"] == [issued["id"]]
    checked = signet("evidence", "check", evidence, "--suspect", suspect)
    assert checked.exit_code == 0, checked.output
    assert "it bears these signs" in checked.output
    (trace,) = signet.json("ownership", "traces")
    assert "Acme Optics" in signet.said("ownership", "traces", trace["id"], "--out", tmp_path)
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(evidence.read_bytes().replace(b'"named"', b'"indicated"', 1))
    assert signet("evidence", "check", damaged).exit_code == 2
