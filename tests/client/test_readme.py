"""The Python in the client's README runs, and its table names every error."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest
import signet_client
from signet_client.license_file import LicenseFile, encode

from tests.client.conftest import ISSUER, KEY_ID
from tests.client.gateway import Gateway
from tests.client.test_images import PNG

README = (Path(__file__).parents[2] / "client" / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def folder(license_path: Path, pub_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A licensee's: acme.lic, issuer.pub, seven.png."""
    (tmp_path / "seven.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestExamples:
    def test_the_three_lines(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        exec(EXAMPLES[0], names := {})  # noqa: S102 (our own README)
        names["client"].close()  # type: ignore[attr-defined]
        assert capsys.readouterr().out == "three\n"

    def test_the_async_ones(self, folder: Path) -> None:
        exec(EXAMPLES[2], names := {})  # noqa: S102
        assert asyncio.run(names["label"]("seven.png")) == "three"  # type: ignore[operator]

    def test_stamping(self, folder: Path, number_license: LicenseFile) -> None:
        (folder / "acme.lic").write_text(encode(number_license, KEY_ID, ISSUER), newline="")
        exec(EXAMPLES[1], names := {})  # noqa: S102
        stamped = names["stamped"](np.full((28, 28), 7, np.uint8))  # type: ignore[operator]
        assert stamped.flat[:9].tolist() == [*[255, 0] * 4, 7]

    def test_the_errors(self, folder: Path, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
        exec(EXAMPLES[3], names := {})  # noqa: S102
        assert [answer.label for answer in names["answers"]] == ["three", "three"]  # type: ignore[attr-defined]
        gateway.refuse_next("predict", 403, "EXPIRED", on="2027-01-31T00:00:00Z")
        exec(EXAMPLES[3], {})  # noqa: S102
        gateway.refuse_next("predict", 403, "SUSPENDED", detail="Suspended by the issuer.")
        exec(EXAMPLES[3], {})  # noqa: S102
        assert capsys.readouterr().out == "The license ended on 2027-01-31.\nRefused: Suspended by the issuer.\n"

    def test_there_are_no_others(self) -> None:
        assert len(EXAMPLES) == 4


class TestTable:
    def test_names_every_error(self) -> None:
        kinds = [getattr(signet_client, name) for name in signet_client.__all__]
        errors = {
            kind.__name__ for kind in kinds if isinstance(kind, type) and issubclass(kind, signet_client.SignetError)
        }
        assert errors <= set(re.findall(r"`(\w+)`", README))
