"""The API's own description: well formed, complete, and every example in it runs."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.catalogue.artefacts import Artefact
from tests.service import expect
from tests.service.catalogue import uploads
from tests.service.doors import filled, is_open
from tests.service.inputs import builders
from tests.service.ownership import owner
from tests.service.standing import Standing

pytestmark = pytest.mark.asyncio(loop_scope="module")

Document = dict[str, Any]


async def document_of(client: httpx.AsyncClient) -> Document:
    """The description."""
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    document: Document = answer.json()
    return document


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Path, method and operation."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in ("get", "post", "put", "patch", "delete", "head", "options", "trace"), (path, method)
            yield path, method, operation


def references(node: Any) -> Iterator[str]:
    """Every `$ref`."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_it_is_an_openapi_document_whose_references_lead_somewhere(standing: Standing) -> None:
    document = await document_of(standing.stranger)
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"] == "Signet"
    for reference in references(document):
        assert reference.startswith("#/components/schemas/")
        assert reference.rpartition("/")[2] in document["components"]["schemas"]


async def test_operations_have_ids_of_their_own_words_and_problems(standing: Standing) -> None:
    document = await document_of(standing.stranger)
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids)) > 20
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["description"], where
        assert operation["tags"], where
        placed = set(re.findall(r"\{(\w+)\}", path))
        declared = {item["name"] for item in operation.get("parameters", []) if item["in"] == "path"}
        assert placed == declared, where
        for status, response in operation["responses"].items():
            assert response["description"], where
            if int(status) >= 400:
                spoken = "application/json" if path.startswith("/v2") else "application/problem+json"
                assert set(response["content"]) == {spoken}, (where, status)
        if path.startswith("/v2"):
            assert "422" not in operation["responses"], where
        elif "/health/" not in path and not path.startswith("/.well-known"):
            assert {"401", "422"} <= set(operation["responses"]), where


async def test_what_needs_a_key_says_which(standing: Standing) -> None:
    document = await document_of(standing.stranger)
    schemes = document["components"].get("securitySchemes", {})
    assert {scheme["type"] for scheme in schemes.values()} == {"http"}
    for path, method, operation in operations(document):
        public = method == "get" and is_open("GET", filled(path))
        assert bool(operation.get("security")) != public, f"{method} {path}"


def resolved(document: Document, node: Document) -> Document:
    """A schema without its reference."""
    if "$ref" in node:
        found: Document = document["components"]["schemas"][node["$ref"].rpartition("/")[2]]
        return found
    return node


async def test_every_example_of_a_body_runs(standing: Standing, artefact: Artefact) -> None:
    document, ran = await document_of(standing.stranger), set()
    customer = (await standing.owner.post("/v1/customers", json={"name": "Example"})).json()["id"]
    issued = {"customer_id": customer, "model": "digits", "credential": "key"}
    license = (await standing.owner.post("/v1/licenses", json=issued)).json()["id"]
    version = owner.committed(artefact, "marked/1")
    await uploads.upload(standing.owner, uploads.renamed(owner.marked(artefact, version), "marked"))
    committed = version.body()
    for path, method, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            continue
        example = content.get("example") or resolved(document, content["schema"])["example"]
        body = copy.deepcopy(example)
        if "customer_id" in body:
            body["customer_id"] = customer
        if "statement" in body:  # what can be registered is about a version that is there, and signed
            assert body.keys() == committed.keys()
            body = committed
        asks = "/models/{model}/" in path and "/repository/" not in path
        caller = standing.licensee if asks else standing.owner
        place = path.replace("{model}", "digits").replace("{version}", "1").replace("{license_id}", license)
        asked = await caller.request(method.upper(), place, json=body)
        assert asked.status_code in (200, 201), (path, asked.text)
        ran.add((method, path))
        if path.endswith("/unload"):
            await standing.owner.post(place.replace("/unload", "/load"))
    assert ran == {
        ("post", "/v1/customers"),
        ("post", "/v1/licenses"),
        ("post", "/v1/licenses/{license_id}/reissue"),
        ("post", "/v1/admin-keys"),
        ("post", "/v1/ownership/commitments"),
        ("post", "/v1/models/{model}/sessions"),
        ("post", "/v1/models/{model}/predict"),
        ("post", "/v2/models/{model}/infer"),
        ("post", "/v2/models/{model}/versions/{version}/infer"),
        ("post", "/v2/repository/index"),
        ("post", "/v2/repository/models/{model}/load"),
        ("post", "/v2/repository/models/{model}/unload"),
    }


async def test_every_media_type_that_is_named_is_taken(standing: Standing) -> None:
    document = await document_of(standing.stranger)
    predict = document["paths"]["/v1/models/{model}/predict"]["post"]["requestBody"]["content"]
    bodies = {
        "application/json": builders.json_inputs(builders.unit().tolist()),
        "image/png": builders.saved(),
        "image/jpeg": builders.saved(kind="JPEG"),
        "application/x-npy": builders.npy(),
    }
    assert set(predict) == {*bodies, "multipart/form-data"}
    for media, body in bodies.items():
        answer = await standing.licensee.post(
            "/v1/models/digits/predict", content=body, headers={"Content-Type": media}
        )
        assert answer.status_code == 200, media


async def test_answers_have_the_form_that_is_promised(standing: Standing) -> None:
    document = await document_of(standing.stranger)
    answers = {
        "PredictionsRead": await standing.licensee.post(
            "/v1/models/digits/predict", json={"inputs": [[0.5] * 28] * 28}
        ),
        "SessionRead": await standing.licensee.post("/v1/models/digits/sessions", json={"nonce": "A" * 43}),
        "ModelRead": await standing.owner.get("/v1/models/digits"),
    }
    for name, answer in answers.items():
        schema = document["components"]["schemas"][name]
        assert answer.json().keys() == schema["properties"].keys(), name
    problem = document["paths"]["/v1/customers"]["post"]["responses"]["422"]["content"]["application/problem+json"][
        "schema"
    ]
    assert set(problem["required"]) == expect.MEMBERS
    refused = expect.problem(await standing.owner.post("/v1/customers", json={}), 422, "INVALID_INPUT", "name")
    assert refused.keys() <= problem["properties"].keys()
