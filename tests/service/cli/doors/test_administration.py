"""Customers, models, licenses, keys: each command done right, at the local store and at a served gateway."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from signet_client import license_file, trust

from models import data
from service.keyring import open_ring
from tests.service.installed import owner_of
from tests.service.serving import Served
from tests.service.signet import BARE, Signet

# Work that is the same on any database.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def private(path: Path) -> bool:
    return stat.S_IMODE(path.stat().st_mode) == 0o600


def credential(signet: Signet, path: Path) -> license_file.Credential:
    return license_file.decode(path.read_text(), trust.resolve(signet.home / "issuer.pub")).credential


class TestCustomer:
    def test_add_and_list(self, signet: Signet) -> None:
        said = signet.said("customer", "add", "Globex [bold]Robotics[/]", "--email", "licensing@globex.example")
        identifier, _, name = said.strip().partition("  ")
        assert name == "Globex [bold]Robotics[/]", "a name is no markup"
        listed = next(one for one in signet.json("customer", "list") if one["id"] == identifier)
        assert (listed["name"], listed["email"]) == ("Globex [bold]Robotics[/]", "licensing@globex.example")
        assert "licensing@globex.example" in signet.said("customer", "list")

    @on_sqlite
    def test_a_list_of_several_pages_is_whole(self, signet: Signet) -> None:
        rows = [(f"cus_{number:028x}ffff", f"Customer {number}") for number in range(201)]
        with closing(sqlite3.connect(signet.home / "signet.db")) as database:
            database.executemany("INSERT INTO customers VALUES (?, ?, NULL, '2027-01-15 12:00:00.000000')", rows)
            database.commit()
        names = [one["name"] for one in signet.json("customer", "list")]
        assert sorted(name for name in names if name.startswith("Customer ")) == sorted(name for _, name in rows)


class TestModel:
    def test_list_and_show(self, signet: Signet) -> None:
        assert [one["name"] for one in signet.json("model", "list")][:1] == ["digits"]
        assert signet.json("model", "show", "digits")["versions"][0]["network"] == "lenet5"
        for said in (signet.said("model", "list"), signet.said("model", "show", "digits")):
            assert "lenet5" in said
            assert "serving" in said

    def test_add_beside_what_is_served_and_retire(self, signet: Signet, folder: Path) -> None:
        added = signet.json("model", "add", folder, "--no-serve", "--unauthorized-policy", "decoy")
        number = added["versions"][-1]["version"]
        assert added["versions"][-1]["state"] == "ready"
        retired = signet.json("model", "retire", "digits", str(number))
        assert retired["versions"][number - 1]["state"] == "retired"
        assert retired["versions"][0]["state"] == "serving"

    def test_another_version_is_served_and_the_first_again(self, signet: Signet, folder: Path) -> None:
        number = signet.json("model", "add", folder, "--no-serve")["versions"][-1]["version"]
        for version in (number, 1):
            states = [one["state"] for one in signet.json("model", "serve", "digits", version)["versions"]]
            assert states[version - 1] == "serving"
            assert states.count("serving") == 1

    def test_unload_and_load(self, signet: Signet) -> None:
        assert signet.json("model", "unload", "digits")["unloaded"] is True
        assert "unloaded" in signet.said("model", "list")
        assert signet.json("model", "load", "digits")["unloaded"] is False
        assert "serving" in signet.said("model", "list")

    @on_sqlite
    def test_protect_trains_and_serves(self, signet: Signet) -> None:
        result = signet("model", "protect", "fresh", "--epochs", "1", "--seed", "3", "--unauthorized-policy", "deny")
        assert result.exit_code == 0, result.output
        assert "training" in result.stderr
        assert "test accuracy" in result.stdout
        shown = signet.json("model", "show", "fresh")
        assert (shown["unauthorized_policy"], shown["versions"][-1]["state"]) == ("deny", "serving")

    @on_sqlite
    def test_pack_and_add_what_was_trained_elsewhere(
        self, signet: Signet, folder: Path, digits: data.Dataset, customer: str, pictures: list[Path], tmp_path: Path
    ) -> None:
        np.save(tmp_path / "calibration.npy", digits.calibration.images)
        config = json.dumps({"channels": 1, "size": 28, "classes": 10})
        options = ["--network", "lenet5", "--network-config", config, "--labels", ",".join("abcdefghij")]
        files = ["--weights", folder / "weights.safetensors", "--calibration", tmp_path / "calibration.npy"]
        mean, std = digits.input_spec.mean[0], digits.input_spec.std[0]
        normalised = ["--mean", str(mean), "--std", str(std)]
        said = signet.said("model", "pack", "packed", "-o", tmp_path / "packed", *options, *files, *normalised)
        assert "signet model add" in said
        assert signet.json("model", "add", tmp_path / "packed")["versions"][0]["output_spec"]["labels"][0] == "a"
        right = [path.name[0] for path in pictures]
        license = tmp_path / "packed.lic"
        signet.said("license", "issue", customer, "packed", "-o", license)
        answers = signet.json("predict", *pictures, "--license", license)
        assert ["abcdefghij".index(one["label"]) for one in answers] == [int(digit) for digit in right]


class TestLicense:
    def test_issue_writes_a_private_file_and_shows_no_secret(
        self, signet: Signet, customer: str, tmp_path: Path
    ) -> None:
        terms = ["--quota", "100", "--expires", "2099-12-31", "--grace-days", "7", "--network", "127.0.0.0/8"]
        for kind in ("key", "fingerprint"):
            path = tmp_path / "handed over" / f"{kind}.lic"
            said = signet.said("license", "issue", customer, "digits", "-o", path, "--credential", kind, *terms)
            assert private(path)
            assert str(path) in said
            assert "0 of 100" in said
            assert "2099-12-31" in said
            carried = credential(signet, path)
            secret = carried.key if isinstance(carried, license_file.KeyCredential) else carried.images[0].hex()
            for text in (said, signet.said("license", "list"), signet.said("--json", "license", "list")):
                assert secret not in text
                assert secret.partition(".")[2] not in text or kind == "fingerprint"
                assert "BEGIN SIGNET" not in text

    @on_sqlite
    def test_json_holds_no_secret_either(self, signet: Signet, customer: str, tmp_path: Path) -> None:
        issued = signet.json("license", "issue", customer, "digits", "-o", tmp_path / "a.lic", "--credential", "key")
        assert "license_file" not in issued
        assert issued["credentials"][0]["kind"] == "key"

    def test_its_whole_life(self, signet: Signet, customer: str, tmp_path: Path) -> None:
        issue = ("license", "issue", customer, "digits", "-o", tmp_path / "a.lic", "--credential", "key")
        identifier = signet.json(*issue, "--check-in-days", "30")["id"]
        for verb, status in (
            ("suspend", "suspended"),
            ("reinstate", "active"),
            ("check-in", "active"),
            ("revoke", "revoked"),
        ):
            assert f"status {status}" in " ".join(signet.said("license", verb, identifier).replace("│", " ").split())
            assert signet.json("license", "show", identifier)["status"] == status
        listed = signet.json("license", "list", "--status", "revoked", "--customer", customer, "--model", "digits")
        assert [one["id"] for one in listed] == [identifier]
        assert identifier in signet.said("license", "list", "--status", "revoked")


class TestPredict:
    def test_a_licensee_gets_eight_of_eight(
        self, signet: Signet, customer: str, pictures: list[Path], tmp_path: Path
    ) -> None:
        license, pinned = tmp_path / "acme.lic", tmp_path / "pinned.pub"
        signet.said("license", "issue", customer, "digits", "-o", license)
        said = signet.said("predict", *pictures, "--license", license)
        assert said.strip().endswith("8 of 8 right")
        pinned.write_bytes((signet.home / "issuer.pub").read_bytes())
        answers = signet.json("predict", *pictures, "--license", license, "--trust", pinned)
        assert [one["label"] for one in answers] == [path.name[0] for path in pictures]
        assert len(answers[0]["scores"]) == 10

    @on_sqlite
    def test_a_stranger_gets_few_and_is_not_told(self, signet: Signet, pictures: list[Path]) -> None:
        said = signet.said("predict", *pictures, "--model", "digits")
        right = int(said.strip().splitlines()[-1].split()[0])
        assert right <= 4
        assert len(signet.json("predict", pictures[0], "--model", "digits")) == 1


class TestAdminKeys:
    def test_add_use_list_and_revoke(self, signet: Signet, tmp_path: Path) -> None:
        path = tmp_path / "keys" / "auditor.key"
        said = signet.said("keys", "admin", "add", "the auditor", "--role", "auditor", "-o", path)
        key = path.read_text().strip()
        assert private(path)
        assert key not in said
        identifier = said.split()[0]
        assert signet.said("--admin-key-file", path, "license", "list")
        assert "owner or issuer" in signet.refused("--admin-key-file", path, "customer", "add", "Acme")
        listed = {one["id"]: one for one in signet.json("keys", "admin", "list")}
        assert (listed[identifier]["role"], listed[identifier]["revoked_at"]) == ("auditor", None)
        assert key not in json.dumps(list(listed.values()))
        assert "revoked" in signet.said("keys", "admin", "revoke", identifier)
        assert "admin key" in signet.refused("--admin-key-file", path, "license", "list")
        assert "revoked" in signet.said("keys", "admin", "list")

    @on_sqlite
    def test_the_home_of_the_owner_is_private(self, local: Signet) -> None:
        local.said("keys", "show")
        assert stat.S_IMODE(local.home.stat().st_mode) == 0o700
        for name in ("ring.json", "owner.key"):
            assert private(local.home / "keys" / name)


class TestKeyRing:
    """Backed up, lost, restored, rotated: old licenses stay valid through all of it."""

    @on_sqlite
    def test_show_tells_no_secret(self, local: Signet) -> None:
        ring = open_ring(local.home / "keys" / "ring.json", create=False)
        secrets = [line for line in ring.to_json().split('"') if len(line) == 43]
        shown = local.said("keys", "show") + local.said("--json", "keys", "show")
        public = {key["public_key"] for key in local.json("keys", "show")["keys"]}
        assert len(secrets) == 2
        assert not [secret for secret in secrets if secret in shown]
        assert all(key in shown for key in public)
        assert ring.active_root in shown

    def test_it_is_never_taken_for_that_of_a_server(self, tmp_path: Path) -> None:
        signet = Signet(tmp_path / "home")
        for words in (("show",), ("rotate",), ("backup", tmp_path / "ring"), ("restore", tmp_path / "ring")):
            assert "without --server" in signet.refused("--server", "https://gateway.example", "keys", *words)
        assert not signet.home.exists()

    def test_the_round_trip(self, tmp_path: Path, folder: Path, pictures: list[Path]) -> None:
        signet, backup = Signet(tmp_path / "home", environment=BARE), tmp_path / "safe" / "ring.backup"
        signet.said("model", "add", folder)
        customer = signet.json("customer", "add", "Acme")["id"]
        old = {kind: tmp_path / f"old-{kind}.lic" for kind in ("key", "fingerprint")}
        for kind, path in old.items():
            signet.said("license", "issue", customer, "digits", "-o", path, "--credential", kind)
        lies = signet.json("predict", *pictures, "--model", "digits")

        said = signet.said("keys", "backup", backup)
        assert private(backup)
        assert json.loads(backup.read_text())["active_root"] not in said

        before = signet.json("keys", "show")
        signet.said("keys", "rotate")
        after = signet.json("keys", "show")
        assert (len(after["roots"]), len(after["keys"])) == (2, 2)
        assert after["active_issuer"] != before["active_issuer"]
        new = tmp_path / "new.lic"
        signet.said("license", "issue", customer, "digits", "-o", new)
        for path in (*old.values(), new):
            assert "8 of 8" in signet.said("predict", *pictures, "--license", path), path
        assert signet.json("predict", *pictures, "--model", "digits") == lies, "the lie does not change with the ring"
        assert signet.said("license", "list"), "the owner's key outlives it too"

        (signet.home / "keys" / "ring.json").unlink()
        signet.said("keys", "restore", backup)
        assert private(signet.home / "keys" / "ring.json")
        for path in old.values():
            assert "8 of 8" in signet.said("predict", *pictures, "--license", path), path

    @on_sqlite
    def test_a_rotation_under_a_gateway_counts_from_its_restart(
        self, served: Served, pictures: list[Path], tmp_path: Path
    ) -> None:
        signet = owner_of(served)
        customer = signet.json("customer", "add", "Acme")["id"]
        old, new = tmp_path / "old.lic", tmp_path / "new.lic"
        signet.said("license", "issue", customer, "digits", "-o", old)
        pinned = tmp_path / "issuer.pub"
        pinned.write_bytes((served.home / "issuer.pub").read_bytes())
        assert "Restart the gateway" in Signet(served.home).said("keys", "rotate")
        served.stop()
        served.start()
        signet.said("license", "issue", customer, "digits", "-o", new)
        for path in (old, new):
            assert "8 of 8" in signet.said("predict", *pictures, "--license", path), path
        assert "1 of 1" in signet.said("predict", pictures[0], "--license", old, "--trust", pinned)
        assert "iss-" in signet.refused("predict", pictures[0], "--license", new, "--trust", pinned)
