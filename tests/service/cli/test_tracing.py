"""`signet ownership trace` over a home of its own, with a worker beside it, and a check of what it wrote."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.catalogue.artefacts import Artefact, write_folder
from tests.service.ownership.traces.conftest import POLICY, small_teacher
from tests.service.signet import BARE, Signet

__all__ = ["POLICY", "small_teacher"]


@pytest.fixture
def signet(tmp_path: Path, new_database: Callable[[], str], small_teacher: Artefact) -> Iterator[Signet]:
    """An owner's machine with the digits model and a worker."""
    environment = {**BARE, "SIGNET_DATABASE_URL": new_database()}
    signet = Signet(tmp_path / "home", environment=environment)
    write_folder(tmp_path / "digits", small_teacher)
    signet.said("model", "add", tmp_path / "digits")
    command = [sys.executable, "-m", "service.cli", "--home", str(signet.home), "worker"]
    worker = subprocess.Popen(command, env={**os.environ, **environment}, stderr=(tmp_path / "worker.log").open("w"))  # noqa: S603
    yield signet
    worker.kill()
    worker.wait()


@pytest.mark.slow
def test_a_stolen_student_is_traced_and_anybody_can_check_it(signet: Signet, tmp_path: Path) -> None:
    wait = ("--wait", "--out", tmp_path / "acme.lic")
    customer = signet.json("customer", "add", "Acme Optics")
    issued = signet.json("license", "issue", customer["id"], "digits", "--credential", "serial_number", *wait)
    suspect = tmp_path / "found.safetensors"
    suspect.write_bytes((signet.home / "students" / issued["student"]["id"] / "weights.safetensors").read_bytes())
    said = signet.said("ownership", "trace", suspect, "--model", "digits", "--draws", "500")
    assert "TRACED to Acme Optics" in said
    (evidence,) = tmp_path.glob("found-*.json")
    assert evidence.stat().st_mode & 0o077 == 0
    assert json.loads(evidence.read_bytes())["discloses"] == [issued["id"]]
    checked = signet("evidence", "check", evidence, "--suspect", suspect)
    assert checked.exit_code == 0, checked.output
    assert "it bears these signs" in checked.stderr
    assert issued["id"] in signet.said(
        "ownership", "traces", signet.json("ownership", "traces")[0]["id"], "-o", tmp_path
    )
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(evidence.read_bytes().replace(b'"named"', b'"indicated"', 1))
    assert signet("evidence", "check", damaged).exit_code == 2
