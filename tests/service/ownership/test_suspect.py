"""The second script: it reads the suspect's digits for itself, and says so where it cannot."""

import ast
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from signet_client import suspect as script
from signet_client.canonical import to_json
from signet_client.suspect import NotRead, check

from models.attacks.obfuscation import permute
from models.checkpoints import decode_weights, encode_weights
from models.networks import build
from service.catalogue.artefacts import Artefact
from tests.service.ownership.owner import LAYER, Committed
from tests.service.ownership.test_evidence import written

SCRIPT = Path(script.__file__)


def changed(weights: bytes, layer: torch.Tensor) -> bytes:
    return save(load(weights) | {LAYER: layer})


def failing(evidence: bytes, suspect: bytes) -> str:
    """The first step that does not hold."""
    return next(what for holds, what in check(evidence, suspect) if not holds)


class TestWhatHolds:
    @pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    def test_every_kind_of_number_is_read_as_the_registry_reads_it(self, kind: torch.dtype, version: Committed) -> None:
        generator = torch.Generator().manual_seed(2)
        layer = load(version.weights)[LAYER]
        layer += 0.5 * layer.std() * torch.randn(layer.shape, generator=generator)
        layer[0, 0, 0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
        suspect = changed(version.weights, layer.to(kind))
        steps = list(check(written(version, suspect), suspect))
        assert all(holds for holds, _ in steps)
        assert len(steps) == 5

    def test_an_unmarked_network(self, version: Committed, artefact: Artefact) -> None:
        assert all(holds for holds, _ in check(written(version, artefact.weights), artefact.weights))

    @settings(max_examples=20, deadline=None)
    @given(values=st.lists(st.floats(width=32), min_size=1, max_size=40))
    def test_any_numbers(self, values: list[float], version: Committed) -> None:
        layer = load(version.weights)[LAYER]
        layer.view(-1)[: len(values)] = torch.tensor(values)
        suspect = changed(version.weights, layer)
        assert all(holds for holds, _ in check(written(version, suspect), suspect))

    def test_a_weight_that_the_map_makes_infinite(self, version: Committed) -> None:
        layer = load(version.weights)[LAYER].double()
        layer.view(-1)[:40] = 1.5e308
        suspect = changed(version.weights, layer)
        assert all(holds for holds, _ in check(written(version, suspect), suspect))


class TestWhatDoesNot:
    def test_another_file(self, version: Committed, artefact: Artefact) -> None:
        assert "the suspect's file" in failing(written(version, version.weights), artefact.weights)

    def test_what_the_issuer_did_not_read_there(self, version: Committed) -> None:
        evidence = json.loads(written(version, version.weights))
        evidence["extracted"][7] = (evidence["extracted"][7] + 1) % 10
        assert "digits that the evidence says" in failing(to_json(evidence), version.weights)
        evidence = json.loads(written(version, version.weights))
        evidence["probabilities"][7] = 0.9
        assert "how often" in failing(to_json(evidence), version.weights)
        evidence = json.loads(written(version, version.weights))
        evidence["ranks"][7] += 1
        assert "the ranks in their layer" in failing(to_json(evidence), version.weights)
        evidence = json.loads(written(version, version.weights))
        evidence["adjustments"]["log10_alignments"] = 3.0
        assert "re-aligned" in failing(to_json(evidence), version.weights)


@pytest.fixture(scope="module")
def permuted(version: Committed) -> bytes:
    network = build("lenet5", {})
    decode_weights(network, version.weights)
    return encode_weights(permute(network, generator=torch.Generator().manual_seed(1)))


class TestWhatCannotBeRead:
    def test_a_suspect_that_was_realigned(self, version: Committed, permuted: bytes) -> None:
        steps = check(written(version, permuted), permuted)
        assert next(steps)[0]
        with pytest.raises(NotRead, match="reordered"):
            next(steps)

    def test_a_type_that_struct_does_not_know(self, version: Committed) -> None:
        suspect = changed(version.weights, load(version.weights)[LAYER].to(torch.float8_e5m2))
        with pytest.raises(NotRead, match="F8_E5M2"):
            list(check(written(version, suspect), suspect))


class TestScript:
    def run(self, *files: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", *map(str, files)]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    def test_it_runs_by_itself_and_its_exit_code_says_it_all(
        self, tmp_path: Path, version: Committed, permuted: bytes
    ) -> None:
        own, other = tmp_path / "suspect.py", tmp_path / "other"
        own.write_bytes(SCRIPT.read_bytes())
        evidence, suspect = tmp_path / "e.json", tmp_path / "s.safetensors"
        evidence.write_bytes(written(version, version.weights))
        suspect.write_bytes(version.weights)
        other.write_bytes(permuted)
        read = self.run(own, evidence, suspect)
        assert (read.returncode, read.stdout.count("\n"), read.stderr) == (0, 5, "")
        assert self.run(own, evidence, other).returncode == 2
        assert self.run(own, suspect, suspect).returncode == 2, "no evidence"
        assert self.run(own, evidence, tmp_path / "missing").returncode == 2
        evidence.write_bytes(written(version, permuted))
        unread = self.run(own, evidence, other)
        assert unread.returncode == 1
        assert "CANNOT BE READ HERE" in unread.stdout

    def test_it_needs_the_standard_library_alone_and_is_read_in_one_sitting(self) -> None:
        text = SCRIPT.read_text()
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]  # type: ignore[union-attr]
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert imported <= set(sys.stdlib_module_names)
        assert len(text.splitlines()) <= 100
