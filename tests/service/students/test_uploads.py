"""A version that is to make students, and cannot: refused when it is added, by the name of what does not hold."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from models import checkpoints, data
from service.catalogue.artefacts import Artefact
from tests.service import expect
from tests.service.conftest import artefact_files
from tests.service.students.teachers import POLICY

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # refused before it is asked


def says(teacher: Artefact, **changes: Any) -> Artefact:
    return replace(teacher, manifest=replace(teacher.manifest, serial_numbers={**POLICY, **changes}))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"layout": {"kind": "corner", "bits": 9}}, "serial_numbers.layout.bits"),
        ({"layout": {"kind": "lattice", "bits": 4096}}, "serial_numbers.layout.bits"),
        ({"network": "lenet5", "network_config": {}}, "serial_numbers.network"),
        ({"network_config": {"classes": 7}}, "serial_numbers.network"),
        ({"distillation": {"epochs": 0}}, "serial_numbers.distillation.epochs"),
    ],
)
async def test_a_policy_that_cannot_be(
    admin: httpx.AsyncClient, teacher: Artefact, changes: dict[str, Any], field: str
) -> None:
    files = artefact_files(says(teacher, **changes))
    expect.problem(await admin.post("/v1/models", files=files), 422, "INVALID_INPUT", field)
    assert (await admin.get("/v1/models")).json()["items"] == []


async def test_a_distillation_set_that_is_missing_or_another(
    admin: httpx.AsyncClient, teacher: Artefact, digits: data.Dataset
) -> None:
    whole = artefact_files(teacher)
    other = checkpoints.encode_distillation(digits.test.images)
    for files in (
        {name: part for name, part in whole.items() if name != "distillation"},
        {**whole, "distillation": ("distillation.safetensors", other)},
    ):
        expect.problem(await admin.post("/v1/models", files=files), 422, "INVALID_INPUT", "distillation_sha256")


async def test_what_a_version_makes_students_with_is_listed(admin: httpx.AsyncClient, teaching: str) -> None:
    (version,) = (await admin.get(f"/v1/models/{teaching}")).json()["versions"]
    assert version["serial_numbers"] == {**POLICY, "leak": 1.0}
