"""What a refusal must look like."""

from typing import Any

import httpx

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def problem(response: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The response's problem document, all its members checked; `field` must be among those it names."""
    assert response.status_code == status, response.text
    document: dict[str, Any] = response.json()
    if f"{document['instance']}/".startswith("/v2/"):  # whose clients read `error`, of plain JSON
        assert document["error"] == document["detail"]
        assert response.headers["content-type"] == "application/json"
    else:
        assert response.headers["content-type"] == "application/problem+json"
    assert document.keys() >= MEMBERS
    assert document["status"] == status
    assert document["code"] == code, response.text
    assert document["type"].startswith("/problems/")
    assert all(isinstance(document[name], str) and document[name] for name in MEMBERS - {"status"})
    assert document["request_id"] == response.headers["x-request-id"]
    if field is not None:
        assert field in [error["field"] for error in document["errors"]], response.text
        assert all(error["message"] for error in document["errors"])
    return document


def alike(one: httpx.Response, other: httpx.Response) -> None:
    """Two callers were told the very same, the request's own id apart."""
    assert one.status_code == other.status_code
    assert {**one.json(), "request_id": ""} == {**other.json(), "request_id": ""}
    assert [name for name, _ in one.headers.multi_items()] == [name for name, _ in other.headers.multi_items()]
