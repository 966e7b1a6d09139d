"""What Prometheus scrapes of versions: the statistics of `/v2`, and what is in memory."""

import httpx
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from models import data
from tests.service.asking import Caller, on_sqlite, sample
from tests.service.conftest import Issue

pytestmark = on_sqlite
OF = {"model": "digits", "version": "1"}


async def scraped(admin: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Values by name and labels."""
    families = text_string_to_metric_families((await admin.get("/metrics")).text)
    samples = [each for family in families for each in family.samples]
    return {(each.name, frozenset(each.labels.items())): each.value for each in samples}


async def test_requests_images_and_memory_are_told(
    app: FastAPI, admin: httpx.AsyncClient, issue: Issue, digits: data.Dataset
) -> None:
    issued = await issue("key")
    for secret in (issued.secret, None):
        answer = await Caller(app).predict([sample(digits)] * 3, secret)
        assert answer.status_code == 200
    assert (await Caller(app).predict([b"no picture"])).status_code == 415
    found = await scraped(admin)

    def of(name: str, **more: str) -> float:
        return found[name, frozenset((OF | more).items())]

    assert of("signet_inference_requests_total", outcome="success") == 2
    assert of("signet_inference_requests_total", outcome="failure") == 1
    assert of("signet_inference_images_total") == 6
    assert of("signet_inference_batches_total") == 2
    for leg in ("queue", "compute_input", "compute_infer", "compute_output"):
        assert 0 < of("signet_inference_seconds_total", leg=leg) < 10
    assert of("signet_loaded_bytes", engine="eager") > 100_000
    assert found[
        "signet_verdicts_total", frozenset({"model": "digits", "operation": "predict", "code": "VALID"}.items())
    ]


async def test_what_left_memory_is_told_no_more(admin: httpx.AsyncClient, app: FastAPI, model: str) -> None:
    await admin.post("/v2/repository/models/digits/unload")
    assert not [name for name, _ in await scraped(admin) if name == "signet_loaded_bytes"]
