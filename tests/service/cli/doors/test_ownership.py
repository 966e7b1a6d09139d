"""`signet ownership` and `signet evidence` at both doors: an owner, a thief, an examiner."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from models import data
from models.checkpoints import decode_weights
from models.networks import build
from models.predictor import Predictor
from models.training import accuracy
from tests.service.signet import Signet

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture(scope="session")
def _committed() -> dict[Path, dict[str, object]]:
    return {}


@pytest.fixture
def name(signet: Signet, folder: Path, digits: data.Dataset, _committed: dict[Path, dict[str, object]]) -> str:
    """A model of its own whose second version bears marks; made once for each door."""
    if signet.home not in _committed:
        other = signet.home.parent / "ours"
        shutil.copytree(folder, other)
        manifest = json.loads((other / "manifest.json").read_bytes()) | {"name": "ours"}
        written = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        (other / "manifest.json").write_text(written)
        signet.said("model", "add", other)
        _committed[signet.home] = signet.json("ownership", "commit", "ours", "--epochs", "20", "--dataset", "digits")
    return "ours"


@pytest.fixture
def stolen(signet: Signet, name: str, tmp_path: Path) -> Path:
    """A copy of the marked weights, disguised."""
    tensors = load((signet.home / "models" / name / "2" / "weights.safetensors").read_bytes())
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    noisy = {key: tensor + 0.002 * torch.randn(tensor.shape, generator=generator) for key, tensor in tensors.items()}
    path = tmp_path / "stolen.safetensors"
    path.write_bytes(save(noisy))
    return path


def written(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"*.{kind}"))


class TestCommit:
    def test_it_adds_a_version_that_still_works_and_registers_what_it_bears(
        self, signet: Signet, name: str, digits: data.Dataset
    ) -> None:
        states = {version["version"]: version["state"] for version in signet.json("model", "show", name)["versions"]}
        assert states == {1: "ready", 2: "serving"}
        (commitment,) = [one for one in signet.json("ownership", "list") if one["model"] == name]
        assert commitment["version"] == 2
        kept = json.loads((signet.home / "ownership" / "ours-2.json").read_bytes())
        assert kept == {key: commitment[key] for key in kept}
        network = build("lenet5", {})
        decode_weights(network, (signet.home / "models" / name / "2" / "weights.safetensors").read_bytes())
        assert accuracy(Predictor(network, digits.input_spec, digits.output_spec), digits.test) > 0.95
        assert commitment["id"] in signet.said("ownership", "list")

    def test_the_secret_is_the_owners_alone(self, signet: Signet, name: str) -> None:
        path = signet.home / "keys" / "ownership.secret"
        assert path.stat().st_mode & 0o077 == 0
        secret = json.loads(path.read_text())["ownership_secret"]
        for database in signet.home.glob("signet.db*"):
            assert secret.encode() not in database.read_bytes()

    @on_sqlite
    def test_without_labels_the_networks_own_answers_are_kept(self, signet: Signet, name: str, tmp_path: Path) -> None:
        result = signet(
            "ownership",
            "commit",
            name,
            "--version",
            "1",
            "--marks",
            "2",
            "--digits",
            "64",
            "-o",
            tmp_path / "x" / "s.json",
        )
        assert result.exit_code == 0, result.output
        assert "2 marks of 64 digits in fc1.weight" in result.stdout
        same = re.search(r"same answer to ([\d.]+)% of the calibration set", result.stdout)
        assert same is not None
        assert float(same[1]) > 90
        assert (tmp_path / "x" / "s.json").exists()
        number = signet.json("model", "show", name)["versions"][-1]["version"]
        signet.said("model", "serve", name, 2)
        latest = signet.json("ownership", "list")[-1]
        assert latest["version"] == number
        weights = signet.home / "models" / name / str(number) / "weights.safetensors"
        out = tmp_path / "out"
        said = signet.json("ownership", "verify", weights, "--model", name, "-o", out)
        assert (said["verdict"], said["commitment_id"]) == ("verified", latest["id"])
        assert [len(written(out, kind)) for kind in ("json", "html")] == [1, 1]


class TestVerify:
    def test_a_stolen_copy_and_what_an_examiner_makes_of_it(
        self, signet: Signet, name: str, stolen: Path, tmp_path: Path
    ) -> None:
        (commitment,) = [one for one in signet.json("ownership", "list") if one["version"] == 2]
        chosen = ("--commitment", commitment["id"])
        said = signet.said("ownership", "verify", stolen, "--model", name, *chosen)
        assert said.startswith("VERIFIED: stolen.safetensors was made from ours/2\n")
        (evidence,), (report,) = written(tmp_path, "json"), written(tmp_path, "html")
        assert str(evidence) in said
        assert "<h1>Verified</h1>" in report.read_text()
        pub = signet.home / "issuer.pub"
        elsewhere = Signet(tmp_path / "examiner")
        checked = elsewhere("evidence", "check", evidence, "--trust", pub, "--suspect", stolen)
        assert checked.exit_code == 0, checked.output
        assert "holds the 3200 digits that the evidence says it holds" in checked.stdout
        assert checked.stdout.endswith("The evidence is valid: verified.\n")
        assert not elsewhere.home.exists()
        opened = signet.json("ownership", "verify", stolen, "--model", name, *chosen)["mark"]
        marks = {one["mark"] for one in [json.loads(path.read_text()) for path in written(tmp_path, "json")]}
        assert marks == {opened}, "the same suspect is shown the same mark"
        evidence.write_bytes(evidence.read_bytes().replace(b'"verified"', b'"ferified"'))
        assert elsewhere("evidence", "check", evidence, "--trust", pub).exit_code == 2

    def test_each_new_suspect_is_shown_a_new_mark_until_there_is_none(
        self, signet: Signet, name: str, tmp_path: Path
    ) -> None:
        (commitment,) = [one for one in signet.json("ownership", "list") if one["version"] == 2]
        line = ("ownership", "verify", tmp_path / "s.safetensors", "--model", name, "--commitment", commitment["id"])
        tensors = load((signet.home / "models" / name / "2" / "weights.safetensors").read_bytes())
        for change in range(3):
            (tmp_path / "s.safetensors").write_bytes(save({**tensors, "fc3.bias": tensors["fc3.bias"] + change}))
            fresh = set(range(3)) - set(signet.json("ownership", "list")[_at(signet, commitment)]["opened_marks"])
            if fresh:
                assert signet.json(*line)["mark"] == min(fresh)
        (tmp_path / "s.safetensors").write_bytes(save({**tensors, "fc3.bias": tensors["fc3.bias"] + 9}))
        said = signet.refused(*line)
        assert "--mark" in said
        assert signet.json(*line, "--mark", "1")["mark"] == 1

    def test_a_date_that_the_owner_knows(self, signet: Signet, name: str, stolen: Path, tmp_path: Path) -> None:
        line = ("ownership", "verify", stolen, "--model", name, "--mark", "0", "-o", tmp_path / "out")
        plain = signet.json(*line)["log10_adjusted_p"]
        assert signet.json(*line, "--known-since", "2020-01-01")["log10_adjusted_p"] == plain
        assert "not said: 2^112 tries are paid for" in signet.said(*line)
        assert "lies in the future" in signet.refused(*line, "--known-since", "2090-01-31")
        assert "--known-since" in signet.refused(*line, "--known-since", "last year")

    def test_an_unmarked_network(self, signet: Signet, name: str, tmp_path: Path) -> None:
        weights = signet.home / "models" / name / "1" / "weights.safetensors"
        said = signet.said("ownership", "verify", weights, "--model", name, "--mark", "0", "-o", tmp_path)
        assert said.startswith("NOT VERIFIED: nothing shows that weights.safetensors was made from ours/")
        (evidence,) = written(tmp_path, "json")
        checked = signet("evidence", "check", evidence)
        assert checked.exit_code == 1, checked.output
        assert "The evidence is valid: not verified." in checked.stdout
        assert signet("--json", "evidence", "check", evidence).exit_code == 1


def _at(signet: Signet, commitment: dict[str, object]) -> int:
    return [one["id"] for one in signet.json("ownership", "list")].index(commitment["id"])


@on_sqlite
class TestRefusals:
    def test_another_owners_secret_is_noticed_before_anything_is_sent(
        self, signet: Signet, name: str, stolen: Path, tmp_path: Path
    ) -> None:
        line = ("ownership", "verify", stolen, "--model", name, "--secret-file")
        assert "no owner's secret" in signet.refused(*line, tmp_path / "none")
        other = tmp_path / "other.secret"
        document = json.loads((signet.home / "keys" / "ownership.secret").read_text())
        other.write_text(json.dumps(document | {"ownership_secret": "A" * 43}))
        other.chmod(0o600)
        before = len(signet.json("ownership", "list"))
        said = signet.refused(*line, other)
        assert "mark_key" in said
        assert "--secret-file" in said
        assert len(signet.json("ownership", "list")) == before
        other.chmod(0o644)
        assert "chmod 600" in signet.refused(*line, other)
        for text in ("", "{}", "[]", '{"format": 1, "ownership_secret": "AAAA"}', "\x00"):
            other.write_text(text)
            other.chmod(0o600)
            assert "holds no owner's secret" in signet.refused(*line, other)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("commit", "nothing"), "no model of this name"),
            (("commit", "ours", "--version", "99"), "ours has no version 99"),
            (("commit", "ours", "--digits", "63"), "--digits"),
            (("commit", "ours", "--marks", "99"), "layer"),
            (("commit", "ours", "--layer", "conv9.weight"), "conv9.weight"),
            (("commit", "ours", "--dataset", "imagenet"), "imagenet"),
            (("commit", "ours", "--folder", "{tmp}/none"), "--folder"),
            (("verify", "{tmp}/none", "--model", "ours"), "No such file"),
            (("verify", "{stolen}", "--model", "nothing"), "signet ownership commit"),
            (("verify", "{stolen}", "--model", "ours", "--commitment", "com_1"), "no commitment com_1"),
            (("verify", "{stolen}", "--model", "ours", "--mark", "9"), "mark"),
            (("verify", "{text}", "--model", "ours", "--mark", "0"), "suspect"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, words: tuple[str, ...], said: str, signet: Signet, name: str, stolen: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "text").write_text("not weights")
        places = {"tmp": tmp_path, "stolen": stolen, "text": tmp_path / "text"}
        before = signet.json("model", "show", "ours")
        assert said in signet.refused("ownership", *(word.format(**places) for word in words))
        assert signet.json("model", "show", "ours") == before

    def test_a_folder_of_another_version(self, signet: Signet, name: str) -> None:
        folder = signet.home / "models" / name / "2"
        assert "--folder" in signet.refused("ownership", "commit", name, "--version", "1", "--folder", folder)

    def test_evidence_that_is_none(self, signet: Signet, tmp_path: Path) -> None:
        for text in ("", "{}", "rubbish"):
            (tmp_path / "x.json").write_text(text)
            said = signet("evidence", "check", tmp_path / "x.json")
            assert (said.exit_code, said.stdout) == (2, "")
            assert "(1)" in said.stderr
        assert signet("evidence", "check", tmp_path / "missing.json").exit_code == 2
        (tmp_path / "keys.pub").write_text("{}")
        assert signet("evidence", "check", tmp_path / "x.json", "--trust", tmp_path / "keys.pub").exit_code == 2
