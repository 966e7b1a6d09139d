"""`signet predict` with a license by serial number: the pictures are stamped on their way."""

from pathlib import Path

import numpy as np
import pytest

from service.cli import home
from service.keyring import open_ring, write_private
from service.settings import Settings
from tests.service.asking import png
from tests.service.signet import BARE, Signet
from tests.service.stamped import OWN, SHARED, Prepared


@pytest.fixture
def signet(stamped_settings: tuple[Prepared, Settings]) -> Signet:
    prepared, settings = stamped_settings
    url = {"SIGNET_DATABASE_URL": settings.database_url.get_secret_value(), "SIGNET_SERVER_URL": settings.server_url}
    home.write_public_keys(settings, open_ring(home.ring_path(settings), create=False))
    write_private(home.owner_key_path(settings), prepared.admin_key)
    return Signet(settings.home, environment={**BARE, **url})


@pytest.mark.parametrize("who", [OWN, SHARED])
def test_it_stamps_for_its_caller(
    who: str, signet: Signet, stamped_settings: tuple[Prepared, Settings], pictures: list[Path], tmp_path: Path
) -> None:
    license = tmp_path / "acme.lic"
    license_id, text = stamped_settings[0].licenses[who]
    write_private(license, text)
    said = signet.said("predict", *pictures, "--license", license)
    right = int(said.rpartition("of 8 right")[0].split()[-1])
    assert right >= 6
    shown = signet.json("license", "show", license_id)
    assert shown["used"] == 8


def test_a_picture_of_another_size_is_named(
    signet: Signet,
    stamped_settings: tuple[Prepared, Settings],
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    license, odd = tmp_path / "acme.lic", tmp_path / "odd.png"
    write_private(license, stamped_settings[0].licenses[OWN][1])
    odd.write_bytes(png(np.zeros((28, 29), np.uint8)))
    said = signet.refused("predict", pictures[0], odd, "--license", license)
    assert "images[1]: has 29x28 pixels; this license's stamp is for 28x28" in said
