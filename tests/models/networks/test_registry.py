from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import nn

from models import networks
from models.errors import SpecError
from models.networks import allow, build, names, register


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "_registry", dict(networks._registry))


def perceptron(values: int, classes: int = 2) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(values, classes))


def refused(name: str, config: dict[str, object]) -> str:
    with pytest.raises(SpecError) as caught:
        build(name, config)
    return caught.value.field


class TestBuild:
    def test_a_registered_network(self) -> None:
        assert build("lenet5", {"classes": 4})(torch.zeros(2, 1, 28, 28)).shape == (2, 4)

    @pytest.mark.parametrize(
        ("config", "key"),
        [({"sizes": 28}, "sizes"), ({"size": "28"}, "size"), ({"size": True}, "size"), ({"size": 11}, "size")],
    )
    def test_a_wrong_key_is_named(self, config: dict[str, object], key: str) -> None:
        assert refused("lenet5", config) == f"network_config.{key}"

    @pytest.mark.parametrize("name", ["", "vgg", "os.system", "models.networks.lenet5:LeNet5"])
    def test_an_unknown_name_is_refused(self, name: str) -> None:
        assert refused(name, {}) == "network"

    def test_a_factory_that_fails_is_the_configuration_s_fault(self) -> None:
        register("perceptron", perceptron)
        assert refused("perceptron", {"values": "many"}) == "network_config"
        assert refused("perceptron", {}) == "network_config.values"
        assert refused("perceptron", {"values": 4, "depth": 3}) == "network_config.depth"

    def test_a_factory_must_give_a_network(self) -> None:
        register("list", lambda: [])  # type: ignore[arg-type, return-value]
        assert refused("list", {}) == "network"


class TestAllow:
    def test_a_module_of_the_operator(self) -> None:
        allow("flat", "tests.models.networks.test_registry:perceptron")
        assert "flat" in names()
        assert build("flat", {"values": 4})(torch.zeros(1, 2, 2)).shape == (1, 2)

    def test_a_file_of_the_operator(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("from torch import nn\ndef make(width):\n    return nn.Linear(width, 2)\n")
        allow("mine", f"{tmp_path / 'mine.py'}:make")
        assert build("mine", {"width": 3})(torch.zeros(1, 3)).shape == (1, 2)

    @pytest.mark.parametrize("target", ["no_colon", ":factory", "module:", "module:not an identifier"])
    def test_a_target_of_another_form_is_refused_at_once(self, target: str) -> None:
        with pytest.raises(SpecError) as caught:
            allow("x", target)
        assert caught.value.field == "network"

    @pytest.mark.parametrize("target", ["no.such.module:f", "models.networks.lenet5:no_such", "/no/such/file.py:f"])
    def test_a_target_that_is_not_there_is_said_when_it_is_needed(self, target: str) -> None:
        allow("x", target)
        assert refused("x", {}) == "network"


def test_another_distribution_s_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "tests.models.networks.test_registry:perceptron", networks.GROUP)
    monkeypatch.setattr(networks, "entry_points", lambda group: [point])
    assert "theirs" in names()
    assert build("theirs", {"values": 4, "classes": 3})(torch.zeros(1, 2, 2)).shape == (1, 3)
